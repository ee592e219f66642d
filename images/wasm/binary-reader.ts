const utf8 = new TextDecoder('utf-8', { fatal: true });

/** What a `BinaryReader` throws when the bytes end early or break the encoding; its message says what and where. */
export class MalformedBinary extends Error {}

/** A section as it stands in a module or a component. */
export interface Section {
  readonly id: number;
  /** Where its id stands. */
  readonly start: number;
  readonly content: BinaryReader;
}

/**
 * Reads the primitive encodings of WebAssembly's binary format (LEB128 integers, bytes, names) from one window of a
 * buffer. Never reads outside the window and never allocates by a length that the bytes merely claim.
 * Source: WebAssembly Core Specification, section "Binary Format", Values.
 */
export class BinaryReader {
  readonly bytes: Uint8Array;
  /** Of the next byte to be read. */
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(what = 'an item'): number {
    if (this.at >= this.end) throw new MalformedBinary(`it ends at byte ${this.end}, inside ${what}`);
    return this.bytes[this.at++]!;
  }

  /** An unsigned LEB128 integer of at most 32 bits. */
  u32(what = 'a number'): number {
    const start = this.at;
    let value = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.byte(what);
      if (shift === 28 && byte > 0x0f) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new MalformedBinary(`${what} at byte ${start} is not a 32-bit number`);
  }

  /** An unsigned LEB128 integer of 64 bits, as long as a JavaScript number holds it: sizes of 64-bit memories. */
  u64(what = 'a number'): number {
    const start = this.at;
    let value = 0;
    for (let factor = 1; factor < 2 ** 49; factor *= 128) {
      const byte = this.byte(what);
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new MalformedBinary(`${what} at byte ${start} is too large a number`);
  }

  /** Passes over a signed LEB128 integer of at most 33 bits (a type index or a primitive type). */
  skipS33(what: string): void {
    const start = this.at;
    for (let count = 0; count < 5; count++) if (this.byte(what) < 0x80) return;
    throw new MalformedBinary(`${what} at byte ${start} is not a 33-bit number`);
  }

  /** Passes over a LEB128 integer of any size and sign. */
  skipInteger(): void {
    while (this.byte() >= 0x80);
  }

  skip(length: number, what = 'an item'): void {
    const left = this.end - this.at;
    if (length > left) {
      throw new MalformedBinary(`${what} at byte ${this.at} claims ${length} bytes and ${left} are left`);
    }
    this.at += length;
  }

  name(what = 'a name'): string {
    const window = this.window(this.u32(`the length of ${what}`), what);
    try {
      return utf8.decode(this.bytes.subarray(window.at, window.end));
    } catch {
      throw new MalformedBinary(`${what} at byte ${window.at} is not UTF-8`);
    }
  }

  /** A reader over the next `length` bytes, which this one passes over. */
  window(length: number, what: string): BinaryReader {
    const start = this.at;
    this.skip(length, what);
    return new BinaryReader(this.bytes, start, this.at);
  }

  /** The next section of a module or a component. */
  section(): Section {
    const start = this.at;
    const id = this.byte('a section');
    return { id, start, content: this.window(this.u32('the size of a section'), 'the section') };
  }
}

/** An unsigned LEB128 integer. */
export function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return bytes;
}
