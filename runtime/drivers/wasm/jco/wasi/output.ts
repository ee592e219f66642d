/** What a guest prints, on its way to the log: bounded in bytes and in messages. */
import type { Channel } from '../channel.ts';
import { outputLimit } from '../protocol.ts';
import { joined } from './pieces.ts';

type Stream = 'stdout' | 'stderr';

/** Writes that are passed on one by one, so that a guest that hangs after few lines has shown them. */
const promptWrites = 64;
/** Bytes gathered from those after them. */
const batch = 4096;

export class Output {
  readonly #channel: Channel;
  readonly #run: number;
  #bytes = 0;
  #writes = 0;
  #stream: Stream = 'stdout';
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;

  constructor(channel: Channel, run: number) {
    this.#channel = channel;
    this.#run = run;
  }

  /** Takes a piece, up to the limit of a request; then says once that the rest is lost. */
  print(stream: Stream, data: Uint8Array): void {
    if (this.#bytes > outputLimit || data.byteLength === 0) return;
    const room = outputLimit - this.#bytes;
    this.#bytes += data.byteLength;
    this.#add(stream, data.slice(0, room));
    if (this.#bytes > outputLimit) {
      const notice = `[skerry] this request printed more than ${outputLimit / 1024} KiB: the rest is dropped\n`;
      this.#add(stream, new TextEncoder().encode(notice));
      this.flush();
    }
  }

  /** A line of the node's own for the developer of the function. */
  note(text: string): void {
    this.print('stderr', new TextEncoder().encode(`[skerry] ${text}\n`));
  }

  #add(stream: Stream, data: Uint8Array): void {
    if (stream !== this.#stream) this.flush();
    this.#stream = stream;
    this.#pending.push(data);
    this.#pendingBytes += data.byteLength;
    if (++this.#writes <= promptWrites || this.#pendingBytes >= batch) this.flush();
  }

  flush(): void {
    if (this.#pendingBytes === 0) return;
    const data = joined(this.#pending, this.#pendingBytes);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#channel.post({ kind: 'output', run: this.#run, stream: this.#stream, data });
  }
}
