/** Reads the binary format of WebAssembly (core specification, chapter 5), as much as sections and limits need. */
export class BinaryReader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.byteLength) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw new RangeError('unexpected end');
    return this.bytes[this.at++]!;
  }

  /** An unsigned LEB128 number of at most 53 bits. */
  number(): number {
    let value = 0;
    let factor = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
      if (factor > 2 ** 49) throw new RangeError('a number that is too large');
    }
  }

  skip(count: number): void {
    if (count > this.end - this.at) throw new RangeError('unexpected end');
    this.at += count;
  }

  name(): string {
    const length = this.number();
    const from = this.at;
    this.skip(length);
    return new TextDecoder().decode(this.bytes.subarray(from, this.at));
  }

  /** The next section: its id and a reader of its content. */
  section(): { id: number; start: number; content: BinaryReader } {
    const start = this.at;
    const id = this.byte();
    const size = this.number();
    const from = this.at;
    this.skip(size);
    return { id, start, content: new BinaryReader(this.bytes, from, this.at) };
  }
}

/** An unsigned LEB128 number. */
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
