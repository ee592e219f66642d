/** The body of a request on its way to the native engine: collected when it is small and quick, else streamed. */
import type { BodySource, FlatHeaders } from '../../../exchange.ts';
import { packHeaders } from './events.ts';
import { type NativeEngine, pushed } from './library.ts';

/** Bodies of a declared length up to this, in bytes, are given to the guest whole. */
const SMALL = 64 * 1024;

export class RequestBody {
  readonly #source: BodySource;
  #cancelled = false;
  /** What was collected; null once the guest gets what comes. */
  #pieces: Uint8Array[] | null = null;
  #guest: { readonly native: NativeEngine; readonly slot: number } | null = null;

  constructor(source: BodySource) {
    this.#source = source;
  }

  /**
   * Collects a small body and calls `done` or `broken`, unless `stream` is called before. False, and nothing happens, when
   * it may be large or has no declared length: then `stream` it.
   */
  collect(done: (bytes: Uint8Array, trailers: FlatHeaders | null) => void, broken: (reason: Error) => void): boolean {
    const { length } = this.#source;
    if (length === null || length > SMALL) return false;
    const pieces: Uint8Array[] = [];
    this.#pieces = pieces;
    this.#source.open({
      chunk: (data) => {
        if (this.#pieces === null) this.#push(data);
        else pieces.push(data);
      },
      end: (trailers) => {
        if (this.#pieces === null) this.#end(trailers);
        else if (!this.#cancelled) done(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces), trailers);
      },
      error: (reason) => {
        if (this.#pieces === null) this.#fail();
        else if (!this.#cancelled) broken(reason);
      },
    });
    return true;
  }

  /** Gives the guest what was collected, with trailers, which only a stream can have. */
  give(native: NativeEngine, slot: number, bytes: Uint8Array, trailers: FlatHeaders | null): void {
    if (bytes.byteLength > 0) native.push(slot, bytes);
    native.end(slot, trailers === null ? '' : packHeaders(trailers));
  }

  /** What comes goes to the guest, behind what was collected so far. */
  stream(native: NativeEngine, slot: number): void {
    this.#guest = { native, slot };
    const collected = this.#pieces;
    this.#pieces = null;
    if (collected !== null) {
      for (const piece of collected) this.#push(piece);
      return;
    }
    this.#source.open({
      chunk: (data) => this.#push(data),
      end: (trailers) => this.#end(trailers),
      error: () => this.#fail(),
    });
  }

  #push(data: Uint8Array): void {
    if (this.#cancelled || data.byteLength === 0 || !this.#guest) return;
    const outcome = this.#guest.native.push(this.#guest.slot, data);
    if (outcome === pushed.full) this.#source.pause();
    else if (outcome === pushed.unwanted) this.cancel();
  }

  #end(trailers: FlatHeaders | null): void {
    if (!this.#cancelled) this.#guest?.native.end(this.#guest.slot, trailers === null ? '' : packHeaders(trailers));
  }

  #fail(): void {
    if (!this.#cancelled) this.#guest?.native.fail(this.#guest.slot);
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
