/** The guest's end of an outbound request whose guest is in a worker. */
import type { EgressErrorKind } from '../../../egress/egress.ts';
import type { FlatHeaders } from '../../../exchange.ts';
import type { GuestEnd } from '../outbound-request.ts';
import { downloadWindow, type OutboundAnswer } from './guest-call-protocol.ts';
import type { GuestWorker } from './guest-worker.ts';
import { exactCopy } from './protocol.ts';

export class WorkerGuestEnd implements GuestEnd {
  readonly #worker: GuestWorker;
  readonly #run: number;
  readonly #call: number;
  readonly #onOver: () => void;
  /** Bytes of the answer that the guest has not read. */
  #unread = 0;
  #full = false;

  constructor(worker: GuestWorker, run: number, call: number, onOver: () => void) {
    this.#worker = worker;
    this.#run = run;
    this.#call = call;
    this.#onOver = onOver;
  }

  head(status: number, headers: FlatHeaders): void {
    this.#say({ what: 'head', status, headers });
  }

  chunk(data: Uint8Array): 'taken' | 'full' {
    const copy = exactCopy(data);
    this.#say({ what: 'chunk', data: copy }, [copy.buffer]);
    this.#unread += data.byteLength;
    this.#full = this.#unread >= downloadWindow;
    return this.#full ? 'full' : 'taken';
  }

  /** The guest has read so many bytes: true when it has room again, and had none. */
  wasRead(bytes: number): boolean {
    this.#unread -= bytes;
    if (!this.#full || this.#unread > downloadWindow / 4) return false;
    this.#full = false;
    return true;
  }

  end(trailers: FlatHeaders | null): void {
    this.#onOver();
    this.#say({ what: 'end', trailers });
  }

  fail(kind: EgressErrorKind): void {
    this.#onOver();
    this.#say({ what: 'fail', kind });
  }

  taken(bytes: number): void {
    this.#say({ what: 'taken', bytes });
  }

  unwanted(): void {
    this.#say({ what: 'unwanted' });
  }

  #say(answer: OutboundAnswer, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker.post({ kind: 'outbound', run: this.#run, call: this.#call, answer }, transfer);
  }
}
