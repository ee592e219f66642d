import { Readable } from 'node:stream';
import type { BodySource } from './exchange.ts';

/** A body source as the stream that undici reads: opened when the first byte is wanted. */
export class BodyStream extends Readable {
  readonly #source: BodySource;
  #opened = false;
  #ended = false;

  /** `bufferBytes`: what it takes of the body before somebody reads it. */
  constructor(source: BodySource, bufferBytes: number) {
    super({ highWaterMark: bufferBytes });
    this.#source = source;
  }

  /** Told of each piece before it is sent; what it throws ends the body with that. */
  protected passing(_bytes: number): void {}

  /** What the stream ends with when the sender broke off. */
  protected brokenOff(reason: Error): Error {
    return reason;
  }

  override _read(): void {
    if (this.#opened) return this.#source.resume();
    this.#opened = true;
    this.#source.open({
      chunk: (data) => this.#take(data),
      end: () => {
        this.#ended = true;
        this.push(null);
      },
      error: (reason) => {
        this.#ended = true;
        this.destroy(this.brokenOff(reason));
      },
    });
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    if (!this.#ended) this.#source.cancel();
    callback(error);
  }

  #take(data: Uint8Array): void {
    if (this.destroyed) return;
    try {
      this.passing(data.byteLength);
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    if (!this.push(data)) this.#source.pause();
  }
}
