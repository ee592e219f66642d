/** The request's body as it arrives from the main thread, read by the guest at its own pace. */
import type { FlatHeaders } from '../../../../exchange.ts';
import type { Channel } from '../channel.ts';
import { bodyWindow, type RunMessage } from '../protocol.ts';
import { type ByteSource, IoError, throwClosed, throwFailed } from './io.ts';

/** Bytes read before the main thread is told to send more: often enough that it never stops, rare enough to cost little. */
const tellEvery = bodyWindow / 4;

export class RequestBody implements ByteSource {
  readonly #channel: Channel;
  readonly #run: number;
  readonly #pieces: Uint8Array[] = [];
  /** How much of the first piece is read already. */
  #offset = 0;
  #ended: boolean;
  #broken = false;
  #trailers: FlatHeaders | null;
  #untold = 0;
  #unwanted = false;

  constructor(channel: Channel, message: RunMessage) {
    this.#channel = channel;
    this.#run = message.run;
    this.#ended = message.body !== 'stream';
    this.#trailers = message.trailers;
    if (message.body instanceof Uint8Array && message.body.byteLength > 0) this.#pieces.push(message.body);
  }

  push(data: Uint8Array): void {
    if (!this.#unwanted) this.#pieces.push(data);
  }

  end(trailers: FlatHeaders | null): void {
    this.#ended = true;
    this.#trailers = trailers;
  }

  break(): void {
    this.#broken = true;
  }

  ready(): boolean {
    return this.#pieces.length > 0 || this.#ended || this.#broken || this.#channel.gone(this.#run);
  }

  read(limit: number): Uint8Array {
    const first = this.#pieces[0];
    if (first) {
      const data = first.subarray(this.#offset, this.#offset + limit);
      this.#offset += data.byteLength;
      if (this.#offset === first.byteLength) {
        this.#pieces.shift();
        this.#offset = 0;
      }
      this.#tell(data.byteLength);
      return data;
    }
    if (this.#broken || this.#channel.gone(this.#run)) {
      throwFailed(new IoError('the client broke off in the middle of the request', { tag: 'connection-terminated' }));
    }
    if (this.#ended) throwClosed();
    return new Uint8Array(0);
  }

  #tell(bytes: number): void {
    if (this.#ended) return;
    this.#untold += bytes;
    if (this.#untold < tellEvery && this.#pieces.length > 0) return;
    this.#channel.post({ kind: 'read', run: this.#run, bytes: this.#untold });
    this.#untold = 0;
  }

  /** The stream was dropped: what still comes is of no interest, except its trailers. */
  close(): void {
    if (!this.#ended) this.discard();
  }

  /** Nobody will read the rest. */
  discard(): void {
    if (this.#unwanted) return;
    this.#unwanted = true;
    this.#pieces.length = 0;
    this.#offset = 0;
    if (!this.#ended) this.#channel.post({ kind: 'unread', run: this.#run });
  }

  /** Whether it is known if there are trailers. */
  get over(): boolean {
    return this.#ended || this.#broken || this.#unwanted || this.#channel.gone(this.#run);
  }

  get broken(): boolean {
    return this.#broken || this.#channel.gone(this.#run);
  }

  get trailers(): FlatHeaders | null {
    return this.#trailers;
  }
}
