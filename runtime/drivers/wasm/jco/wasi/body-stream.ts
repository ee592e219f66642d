/**
 * A body as it arrives from the main thread, read by the guest at its own pace: that of the request, or of the answer to an
 * outbound one.
 */

import type { FlatHeaders } from '../../../../exchange.ts';
import { noteRead } from './handle.ts';
import type { ErrorCode } from './http-error-code.ts';
import { type ByteSource, IoError, throwClosed, throwFailed } from './io.ts';

/** Where a body comes from. */
export interface Upstream {
  /** So many bytes were read. Told often enough that a sender with a full window never stops, and rarely enough to cost little. */
  read(bytes: number): void;
  /** Nobody will read the rest, if `ended` leaves any. Told once. */
  discarded(ended: boolean): void;
  /** Why nothing more comes, although nobody said so in a message; null while there is no such reason. */
  gone(): Break | null;
}

/** Why a body is not whole. */
export interface Break {
  readonly code: ErrorCode;
  readonly why: string;
}

export class BodyStream implements ByteSource {
  readonly #upstream: Upstream;
  /** Bytes read before the sender is told. */
  readonly #tellEvery: number;
  readonly #pieces: Uint8Array[] = [];
  /** How much of the first piece is read already. */
  #offset = 0;
  #ended = false;
  #broken: Break | null = null;
  #trailers: FlatHeaders | null = null;
  #untold = 0;
  #unwanted = false;

  /** `window` is how many bytes the sender has on the way at most. */
  constructor(upstream: Upstream, window: number) {
    this.#upstream = upstream;
    this.#tellEvery = window / 4;
  }

  push(data: Uint8Array): void {
    if (!this.#unwanted && data.byteLength > 0) this.#pieces.push(data);
  }

  end(trailers: FlatHeaders | null): void {
    this.#ended = true;
    this.#trailers = trailers;
  }

  fail(reason: Break): void {
    this.#broken ??= reason;
  }

  ready(): boolean {
    return this.#pieces.length > 0 || this.over;
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
      noteRead(data.byteLength);
      this.#tell(data.byteLength);
      return data;
    }
    const { broken } = this;
    if (broken) throwFailed(new IoError(broken.why, broken.code));
    if (this.#ended) throwClosed();
    return new Uint8Array(0);
  }

  #tell(bytes: number): void {
    if (this.#ended) return;
    this.#untold += bytes;
    if (this.#untold < this.#tellEvery && this.#pieces.length > 0) return;
    this.#upstream.read(this.#untold);
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
    this.#upstream.discarded(this.#ended);
  }

  /** Whether it is known if there are trailers. */
  get over(): boolean {
    return this.#ended || this.#unwanted || this.broken !== null;
  }

  /** Why there is no more, when that is not its end. */
  get broken(): Break | null {
    return this.#broken ?? (this.#ended ? null : this.#upstream.gone());
  }

  get trailers(): FlatHeaders | null {
    return this.#trailers;
  }
}
