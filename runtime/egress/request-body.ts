import { Readable } from 'node:stream';
import type { BodySource } from '../exchange.ts';
import { EgressFailure } from './failure.ts';
import { REQUEST_BODY_BUFFER_BYTES } from './limits.ts';

/** A body source as the stream that undici reads. */
export class RequestBody extends Readable {
  readonly #source: BodySource;
  readonly #onBytes: (bytes: number) => void;
  #opened = false;
  #ended = false;

  /** `onBytes` is told of each piece before it is sent; what it throws ends the body with that. */
  constructor(source: BodySource, onBytes: (bytes: number) => void) {
    super({ highWaterMark: REQUEST_BODY_BUFFER_BYTES });
    this.#source = source;
    this.#onBytes = onBytes;
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
        this.destroy(new EgressFailure('connection-terminated', "the request's body broke off", reason));
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
      this.#onBytes(data.byteLength);
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    if (!this.push(data)) this.#source.pause();
  }
}

/** Methods whose requests say nothing with a body; a body that turns out to be empty is then not sent at all. */
const BODILESS = new Set(['GET', 'HEAD']);

/**
 * Calls back with the body to send: at once, or, where the method has none as a rule, when it is known whether there is
 * one. HTTP/2 has to say so with the head.
 */
export function bodyToSend(
  method: string,
  body: RequestBody | null,
  callback: (body: RequestBody | null) => void,
): void {
  if (body === null || !BODILESS.has(method)) return callback(body);
  const settle = (found: RequestBody | null) => {
    body.off('readable', onReadable);
    body.off('end', onEnd);
    callback(found);
  };
  const onReadable = () => {
    if (body.readableLength > 0) settle(body);
    // Nothing in it: reading on makes it say that it has ended.
    else body.read();
  };
  const onEnd = () => settle(null);
  body.on('readable', onReadable);
  body.once('end', onEnd);
}
