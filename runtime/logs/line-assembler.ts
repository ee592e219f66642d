/** Joins the pieces that a workload writes to whole lines, for each request and stream apart. */

/** A line longer than this is cut into several, in bytes. */
export const MAX_LINE_BYTES = 8 * 1024;
/** Lines begun and not ended, over all requests: beyond it the oldest is given out as it is. */
const MAX_OPEN_LINES = 1024;

export class LineAssembler {
  readonly #open = new Map<string, Buffer>();
  readonly #emit: (key: string, line: Buffer) => void;

  constructor(emit: (key: string, line: Buffer) => void) {
    this.#emit = emit;
  }

  /** No line is begun. */
  get empty(): boolean {
    return this.#open.size === 0;
  }

  push(key: string, data: Uint8Array): void {
    let rest = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const begun = this.#open.get(key);
    if (begun) {
      this.#open.delete(key);
      rest = Buffer.concat([begun, rest]);
    }
    while (rest.length > 0) {
      const newline = rest.indexOf(10);
      const end = newline < 0 ? rest.length : newline;
      if (newline < 0 && end < MAX_LINE_BYTES) break;
      const cut = Math.min(end, MAX_LINE_BYTES);
      this.#emit(key, rest.subarray(0, cut));
      rest = rest.subarray(cut === end && newline >= 0 ? cut + 1 : cut);
    }
    if (rest.length > 0) this.#keep(key, rest);
  }

  /** Gives out what was begun under this key: no more of it will come. */
  flush(key: string): void {
    const begun = this.#open.get(key);
    if (!begun) return;
    this.#open.delete(key);
    this.#emit(key, begun);
  }

  flushAll(): void {
    for (const key of [...this.#open.keys()]) this.flush(key);
  }

  #keep(key: string, rest: Buffer): void {
    if (this.#open.size >= MAX_OPEN_LINES) this.flush(this.#open.keys().next().value as string);
    // A copy: the piece may be a view into a buffer that is used again.
    this.#open.set(key, Buffer.from(rest));
  }
}
