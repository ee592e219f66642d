/** The fields of a payload: numbers are little-endian, bytes and lists begin with their length. */

/** The payload is not what its kind says. */
export class Malformed extends Error {}

export class FieldReader {
  #rest: Buffer;

  constructor(payload: Buffer) {
    this.#rest = payload;
  }

  take(count: number): Buffer {
    if (count > this.#rest.length) throw new Malformed('a payload that is too short');
    const taken = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return taken;
  }

  u8(): number {
    return this.take(1)[0] as number;
  }

  u16(): number {
    return this.take(2).readUInt16LE();
  }

  u32(): number {
    return this.take(4).readUInt32LE();
  }

  /** A number above 2^53 is none that a guest has reason to tell. */
  u64(): number {
    const value = Number(this.take(8).readBigUInt64LE());
    if (!Number.isSafeInteger(value)) throw new Malformed('a number that is too large');
    return value;
  }

  bytes(): Buffer {
    return this.take(this.u32());
  }

  end(): void {
    if (this.#rest.length > 0) throw new Malformed('a payload that is too long');
  }
}

export class FieldWriter {
  readonly #pieces: Buffer[] = [];

  raw(bytes: Uint8Array): this {
    this.#pieces.push(Buffer.from(bytes));
    return this;
  }

  #number(size: number, write: (to: Buffer) => void): this {
    const piece = Buffer.alloc(size);
    write(piece);
    this.#pieces.push(piece);
    return this;
  }

  u8(value: number): this {
    return this.#number(1, (to) => to.writeUInt8(value));
  }

  u16(value: number): this {
    return this.#number(2, (to) => to.writeUInt16LE(value));
  }

  u32(value: number): this {
    return this.#number(4, (to) => to.writeUInt32LE(value));
  }

  u64(value: bigint): this {
    return this.#number(8, (to) => to.writeBigUInt64LE(value));
  }

  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  bytes(value: Uint8Array | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    return this.u32(bytes.byteLength).raw(bytes);
  }

  list<T>(items: readonly T[], write: (item: T) => void): this {
    this.u16(items.length);
    for (const item of items) write(item);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}
