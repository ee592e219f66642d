/** The body of a request on its way to the native engine: collected when it is small, else streamed. */
import type { BodySource, FlatHeaders } from '../../../exchange.ts';
import { packHeaders } from './events.ts';
import { type NativeEngine, pushed } from './library.ts';

/** Bodies of a declared length up to this, in bytes, are given to the guest whole. */
const SMALL = 64 * 1024;

export class RequestBody {
  readonly #source: BodySource;
  #cancelled = false;

  constructor(source: BodySource) {
    this.#source = source;
  }

  /**
   * Collects a small body and calls `done` or `broken`. False, and nothing happens, when it may be large or has no
   * declared length: then `stream` it.
   */
  collect(done: (bytes: Uint8Array, trailers: FlatHeaders | null) => void, broken: (reason: Error) => void): boolean {
    const { length } = this.#source;
    if (length === null || length > SMALL) return false;
    const pieces: Uint8Array[] = [];
    this.#source.open({
      chunk: (data) => {
        pieces.push(data);
      },
      end: (trailers) => {
        if (!this.#cancelled) done(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces), trailers);
      },
      error: (reason) => {
        if (!this.#cancelled) broken(reason);
      },
    });
    return true;
  }

  /** Gives the guest what was collected, with trailers, which only a stream can have. */
  give(native: NativeEngine, slot: number, bytes: Uint8Array, trailers: FlatHeaders | null): void {
    if (bytes.byteLength > 0) native.push(slot, bytes);
    native.end(slot, trailers === null ? '' : packHeaders(trailers));
  }

  stream(native: NativeEngine, slot: number): void {
    this.#source.open({
      chunk: (data) => {
        if (this.#cancelled || data.byteLength === 0) return;
        const outcome = native.push(slot, data);
        if (outcome === pushed.full) this.#source.pause();
        else if (outcome === pushed.unwanted) this.cancel();
      },
      end: (trailers) => {
        if (!this.#cancelled) native.end(slot, trailers === null ? '' : packHeaders(trailers));
      },
      error: () => {
        if (!this.#cancelled) native.fail(slot);
      },
    });
  }

  resume(): void {
    if (!this.#cancelled) this.#source.resume();
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#source.cancel();
  }
}
