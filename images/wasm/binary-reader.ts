const utf8 = new TextDecoder('utf-8', { fatal: true });

/** What a `BinaryReader` throws when the bytes end early or break the encoding; its message says what and where. */
export class MalformedBinary extends Error {}

/**
 * Reads the primitive encodings of WebAssembly's binary format (LEB128 integers, bytes, names) from one window of a
 * buffer. Never reads outside the window and never allocates by a length that the bytes merely claim.
 * Source: WebAssembly Core Specification, section "Binary Format", Values.
 */
export class BinaryReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #position: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#position = start;
    this.#end = end;
  }

  get position(): number {
    return this.#position;
  }

  get done(): boolean {
    return this.#position >= this.#end;
  }

  byte(what: string): number {
    const value = this.#position < this.#end ? this.#bytes[this.#position] : undefined;
    if (value === undefined) throw new MalformedBinary(`it ends at byte ${this.#end}, inside ${what}`);
    this.#position++;
    return value;
  }

  /** An unsigned LEB128 integer of at most 32 bits. */
  u32(what: string): number {
    const start = this.#position;
    let value = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.byte(what);
      if (shift === 28 && byte > 0x0f) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new MalformedBinary(`${what} at byte ${start} is not a 32-bit number`);
  }

  /** Passes over a signed LEB128 integer of at most 33 bits (a type index or a primitive type). */
  skipS33(what: string): void {
    const start = this.#position;
    for (let count = 0; count < 5; count++) if (this.byte(what) < 0x80) return;
    throw new MalformedBinary(`${what} at byte ${start} is not a 33-bit number`);
  }

  name(what: string): string {
    const window = this.window(this.u32(`the length of ${what}`), what);
    try {
      return utf8.decode(this.#bytes.subarray(window.#position, window.#end));
    } catch {
      throw new MalformedBinary(`${what} at byte ${window.#position} is not UTF-8`);
    }
  }

  /** A reader over the next `length` bytes, which this one passes over. */
  window(length: number, what: string): BinaryReader {
    const left = this.#end - this.#position;
    if (length > left) {
      throw new MalformedBinary(`${what} at byte ${this.#position} claims ${length} bytes and ${left} are left`);
    }
    const window = new BinaryReader(this.#bytes, this.#position, this.#position + length);
    this.#position += length;
    return window;
  }
}
