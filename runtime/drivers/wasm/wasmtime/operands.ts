/**
 * Lists of bytes as they cross for operations on stored keys. Their other half, and the description of the format, is
 * native/wasm/src/operands.rs.
 */

const NONE = 0xffff_ffff;

/** The parts are views of `packed`. */
export function unpackOperands(packed: Buffer): (Buffer | null)[] {
  const parts: (Buffer | null)[] = [];
  let at = 0;
  while (at + 4 <= packed.length) {
    const length = packed.readUInt32LE(at);
    at += 4;
    if (length === NONE) {
      parts.push(null);
    } else {
      parts.push(packed.subarray(at, at + length));
      at += length;
    }
  }
  return parts;
}

export function packOperands(parts: readonly (Uint8Array | null)[]): Buffer {
  const size = parts.reduce((sum, part) => sum + 4 + (part?.byteLength ?? 0), 0);
  const packed = Buffer.allocUnsafe(size);
  let at = 0;
  for (const part of parts) {
    at = packed.writeUInt32LE(part === null ? NONE : part.byteLength, at);
    if (part !== null) {
      packed.set(part, at);
      at += part.byteLength;
    }
  }
  return packed;
}

/** A whole number of 64 bits, modulo 2^64. */
export function packNumber(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes;
}
