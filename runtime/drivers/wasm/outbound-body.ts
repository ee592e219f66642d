import type { BodyReader, BodySource } from '../../exchange.ts';

/** The body of an outbound request as the guest hands it over, piece by piece. */
export class OutboundBody implements BodySource {
  readonly length: number | null;
  readonly #taken: (bytes: number) => void;
  readonly #unwanted: () => void;
  #reader: BodyReader | null = null;
  #paused = false;
  /** Pieces that the reader has no room for: no more of them than the engine's window for a body. */
  #held: Uint8Array[] = [];
  #end: 'whole' | 'broken' | null = null;
  #over = false;

  /** `taken` is told how many bytes the reader took, `unwanted` that it takes no more. */
  constructor(length: number | null, taken: (bytes: number) => void, unwanted: () => void) {
    this.length = length;
    this.#taken = taken;
    this.#unwanted = unwanted;
  }

  /** One piece from the guest, the last one when `end` says so. */
  take(piece: Uint8Array | null, end: boolean): void {
    if (this.#over) return;
    if (piece !== null) this.#held.push(piece);
    if (end) this.#end = 'whole';
    this.#flow();
  }

  /** The guest left its body unfinished. */
  breakOff(): void {
    if (this.#over) return;
    this.#end = 'broken';
    this.#flow();
  }

  open(reader: BodyReader): void {
    this.#reader = reader;
    this.#flow();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#flow();
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#held = [];
    this.#unwanted();
  }

  #flow(): void {
    const reader = this.#reader;
    if (reader === null) return;
    while (!this.#paused && !this.#over) {
      const piece = this.#held.shift();
      if (piece === undefined) {
        if (this.#end === null) return;
        this.#over = true;
        if (this.#end === 'whole') reader.end(null);
        else reader.error(new Error('the function left the body of its request unfinished'));
        return;
      }
      reader.chunk(piece);
      this.#taken(piece.byteLength);
    }
  }
}
