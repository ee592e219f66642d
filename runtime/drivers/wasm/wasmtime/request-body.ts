/** The body of a request on its way to the native engine: collected when it is small and quick, else streamed. */
import type { BodySource, FlatHeaders } from '../../../exchange.ts';
import { packHeaders } from './events.ts';
import { type NativeEngine, pushed } from './library.ts';

/** Bodies of a declared length up to this, in bytes, are given to the guest whole. */
const SMALL = 64 * 1024;

/** Who waits for the whole of a body. */
interface Waiting {
  done(bytes: Uint8Array, trailers: FlatHeaders | null): void;
  broken(): void;
}

export class RequestBody {
  readonly #source: BodySource;
  #cancelled = false;
  #opened = false;
  /** Collected before the guest was there. */
  #early: Uint8Array[] = [];
  #waiting: Waiting | null = null;
  #guest: { readonly native: NativeEngine; readonly slot: number } | null = null;

  constructor(source: BodySource) {
    this.#source = source;
  }

  /**
   * Collects a small body and tells `waiting`, unless `stream` is called before. False, and nothing happens, when it may be
   * large or has no declared length: then `stream` it.
   */
  collect(waiting: Waiting): boolean {
    const { length } = this.#source;
    if (length === null || length > SMALL) return false;
    this.#waiting = waiting;
    this.#open();
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
    for (const piece of this.#early.splice(0)) this.#chunk(piece);
    if (!this.#opened) this.#open();
  }

  #open(): void {
    this.#opened = true;
    this.#source.open({
      chunk: (data) => this.#chunk(data),
      end: (trailers) => this.#end(trailers),
      error: () => this.#error(),
    });
  }

  #chunk(data: Uint8Array): void {
    if (this.#cancelled || data.byteLength === 0) return;
    if (!this.#guest) return void this.#early.push(data);
    const outcome = this.#guest.native.push(this.#guest.slot, data);
    if (outcome === pushed.full) this.#source.pause();
    else if (outcome === pushed.unwanted) this.cancel();
  }

  #end(trailers: FlatHeaders | null): void {
    if (this.#cancelled) return;
    if (this.#guest) this.#guest.native.end(this.#guest.slot, trailers === null ? '' : packHeaders(trailers));
    else this.#waiting?.done(this.#early.length === 1 ? this.#early[0]! : Buffer.concat(this.#early), trailers);
  }

  #error(): void {
    if (this.#cancelled) return;
    if (this.#guest) this.#guest.native.fail(this.#guest.slot);
    else this.#waiting?.broken();
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
