/** The body of a request on its way to its worker: what came before the worker took it, and what the worker has not read. */
import type { BodySource, FlatHeaders } from '../../../exchange.ts';
import type { GuestWorker } from './guest-worker.ts';
import { bodyWindow, exactCopy, type RunMessage, smallBody } from './protocol.ts';

/** How long a small body is waited for before the guest starts without it, in milliseconds. */
const gatherTime = 5;

export class RequestBody {
  readonly #source: BodySource;
  #worker: GuestWorker | null = null;
  #gather: NodeJS.Timeout | null = null;
  #early: Uint8Array[] = [];
  #earlyBytes = 0;
  #unread = 0;
  #paused = false;
  #end: 'open' | 'whole' | 'broken' = 'open';
  #trailers: FlatHeaders | null = null;
  /** Nobody wants it any more. */
  #over = false;

  constructor(source: BodySource) {
    this.#source = source;
  }

  /** Opens it; calls `ready` when its run may begin, perhaps more than once. */
  open(ready: () => void): void {
    const { length } = this.#source;
    if (length === null || length > smallBody) ready();
    else this.#gather = setTimeout(ready, gatherTime);
    this.#source.open({
      chunk: (data) => this.#chunk(data),
      end: (trailers) => {
        this.#end = 'whole';
        this.#trailers = trailers;
        this.#tellEnd();
        ready();
      },
      error: () => {
        this.#end = 'broken';
        this.#tellEnd();
        ready();
      },
    });
  }

  /** What of it travels with the head of the run; `flow` sends the rest behind that. */
  first(): Pick<RunMessage, 'trailers'> & { readonly body: Uint8Array<ArrayBuffer> | 'stream' } {
    const small = this.#end === 'whole' && this.#earlyBytes <= smallBody;
    const body = small ? exactCopy(Buffer.concat(this.#early)) : 'stream';
    if (small) this.#early = [];
    return { body, trailers: this.#trailers };
  }

  /** The worker takes what comes from here on; `whole` when it has it all. */
  flow(worker: GuestWorker, whole: boolean): void {
    this.#worker = worker;
    if (whole) return;
    for (const data of this.#early.splice(0)) this.#send(data);
    this.#tellEnd();
  }

  wasRead(bytes: number): void {
    this.#unread -= bytes;
    if (!this.#paused || this.#unread > bodyWindow / 2) return;
    this.#paused = false;
    this.#source.resume();
  }

  /** Nobody waits for it to be small enough to travel whole. */
  settle(): void {
    if (this.#gather) clearTimeout(this.#gather);
  }

  /** The guest wants no more of it. */
  cancel(): void {
    this.#source.cancel();
  }

  /** The worker has no more part in it. */
  close(): void {
    this.#over = true;
    this.#source.cancel();
  }

  #chunk(data: Uint8Array): void {
    if (data.byteLength === 0 || this.#over) return;
    this.#unread += data.byteLength;
    if (this.#worker) this.#send(data);
    else {
      this.#early.push(data);
      this.#earlyBytes += data.byteLength;
    }
    if (this.#unread >= bodyWindow && !this.#paused) {
      this.#paused = true;
      this.#source.pause();
    }
  }

  #send(data: Uint8Array): void {
    const copy = exactCopy(data);
    this.#worker!.post({ kind: 'chunk', run: this.#worker!.run, data: copy }, [copy.buffer]);
  }

  #tellEnd(): void {
    if (!this.#worker || this.#over || this.#end === 'open') return;
    const { run } = this.#worker;
    if (this.#end === 'broken') this.#worker.post({ kind: 'broken', run });
    else this.#worker.post({ kind: 'end', run, trailers: this.#trailers });
  }
}
