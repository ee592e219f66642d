/** An answer that comes in pieces: hands them to the client as it has room, and tells the guest what was taken. */
import type { ReplySink } from '../../../exchange.ts';
import { flag, type NativeEvent, unpackHeaders } from './events.ts';

export class ReplyStream {
  readonly #sink: ReplySink;
  readonly #taken: (bytes: number) => void;
  /** The client has no room: pieces wait here. The engine sends no more of them than its window, a few 100 KB. */
  #full = false;
  #held: NativeEvent[] = [];
  /** Bytes given to the client while it said "full", which count as taken when it has room again. */
  #given = 0;
  #onEnd: (() => void) | null = null;
  readonly #refused: (error: Error) => void;

  /** `refused` is called when the client's side throws over what had to wait. */
  constructor(sink: ReplySink, taken: (bytes: number) => void, refused: (error: Error) => void) {
    this.#sink = sink;
    this.#taken = taken;
    this.#refused = refused;
  }

  /** True when this was the end of the answer and the client was given all of it. */
  take(event: NativeEvent): boolean {
    if (this.#full) {
      this.#held.push(event);
      return false;
    }
    const { flags, body } = event;
    if (flags & flag.head) {
      this.#sink.start(event.status, unpackHeaders(event.head));
      this.#sink.onDrain(() => this.#drained());
    }
    if (body !== null) {
      if (this.#sink.write(body)) {
        this.#taken(body.byteLength);
      } else {
        this.#full = true;
        this.#given += body.byteLength;
      }
    }
    if (flags & flag.end) {
      // Nothing more is written: whether there is room no longer matters.
      this.#sink.end(event.trailers === '' ? null : unpackHeaders(event.trailers));
      return true;
    }
    return false;
  }

  /** Sets what is called when an end that had to wait was given to the client. */
  onEnd(callback: () => void): void {
    this.#onEnd = callback;
  }

  #drained(): void {
    this.#full = false;
    const given = this.#given;
    this.#given = 0;
    if (given > 0) this.#taken(given);
    const held = this.#held;
    this.#held = [];
    try {
      for (const event of held) if (this.take(event)) this.#onEnd?.();
    } catch (error) {
      this.#refused(error as Error);
    }
  }
}
