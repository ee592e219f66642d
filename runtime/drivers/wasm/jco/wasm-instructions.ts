/** Steps over the instructions of a function body (core specification, section 5.4), as many kinds as this V8 knows. */
import type { BinaryReader } from '../../../../images/wasm/binary-reader.ts';

/** An instruction, or an encoding, that is not known here. */
export class UnknownInstruction extends Error {}

const none = 0;
const one = 1;
const two = 2;
const memory = 3;
const unknown = 4;

/** What follows each opcode of one byte: nothing, one index, two, a memory argument; the others are told apart below. */
const immediates = new Uint8Array(256).fill(unknown);
for (const op of [0x00, 0x01, 0x05, 0x0a, 0x0b, 0x0f, 0x19, 0x1a, 0x1b, 0xd1, 0xd3, 0xd4]) immediates[op] = none;
for (let op = 0x45; op <= 0xc4; op++) immediates[op] = none;
for (const op of [0x07, 0x08, 0x09, 0x0c, 0x0d, 0x10, 0x12, 0x14, 0x15, 0x18]) immediates[op] = one;
for (const op of [0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x3f, 0x40, 0xd2, 0xd5, 0xd6]) immediates[op] = one;
// Block types, constants and heap types are signed, which makes no difference to their length.
for (const op of [0x02, 0x03, 0x04, 0x06, 0x41, 0x42, 0xd0]) immediates[op] = one;
for (const op of [0x11, 0x13]) immediates[op] = two;
for (let op = 0x28; op <= 0x3e; op++) immediates[op] = memory;

export const memorySize = 0x3f;
export const memoryGrow = 0x40;
/** Opcodes of two parts, as `skipInstruction` tells them. */
export const memoryInit = 0xfc_08;
export const dataDrop = 0xfc_09;
export const tableGrow = 0xfc_0f;

const bulkPrefix = 0xfc;

/** Steps over one instruction and tells its opcode: its first byte, for bulk operations with the second part behind it. */
export function skipInstruction(reader: BinaryReader): number {
  const op = reader.byte();
  switch (immediates[op]) {
    case none:
      break;
    case one:
      reader.skipInteger();
      break;
    case two:
      reader.skipInteger();
      reader.skipInteger();
      break;
    case memory:
      skipMemoryArgument(reader);
      break;
    default:
      if (op === bulkPrefix) return (bulkPrefix << 8) | skipBulk(reader);
      skipOther(reader, op);
  }
  return op;
}

function skipMemoryArgument(reader: BinaryReader): void {
  const align = reader.u32();
  if (align & 0x40) reader.skipInteger();
  reader.skipInteger();
}

function skipOther(reader: BinaryReader, op: number): void {
  switch (op) {
    case 0x0e:
      for (let left = reader.u32() + 1; left > 0; left--) reader.skipInteger();
      return;
    case 0x1c:
      for (let left = reader.u32(); left > 0; left--) skipValueType(reader);
      return;
    case 0x1f:
      return skipTryTable(reader);
    case 0x43:
      return reader.skip(4);
    case 0x44:
      return reader.skip(8);
    case 0xfd:
      return skipVector(reader, reader.u32());
    case 0xfe:
      return skipAtomic(reader, reader.u32());
    default:
      throw new UnknownInstruction(`opcode ${op}`);
  }
}

export function skipValueType(reader: BinaryReader): void {
  const type = reader.byte();
  if (type === 0x63 || type === 0x64) reader.skipInteger();
  else if (type < 0x40 || type > 0x7f) throw new UnknownInstruction(`value type ${type}`);
}

function skipTryTable(reader: BinaryReader): void {
  reader.skipInteger();
  for (let left = reader.u32(); left > 0; left--) {
    // catch and catch_ref name a tag; catch_all and catch_all_ref do not.
    if (reader.byte() < 2) reader.skipInteger();
    reader.skipInteger();
  }
}

/** Saturating conversions; memory and table operations with one or two indices. */
function skipBulk(reader: BinaryReader): number {
  const op = reader.u32();
  if (op <= 7) return op;
  if (op > 17) throw new UnknownInstruction(`opcode 0xfc ${op}`);
  reader.skipInteger();
  if (op === 8 || op === 10 || op === 12 || op === 14) reader.skipInteger();
  return op;
}

function skipVector(reader: BinaryReader, op: number): void {
  if (op <= 11 || op === 92 || op === 93) skipMemoryArgument(reader);
  else if (op === 12 || op === 13) reader.skip(16);
  else if (op >= 21 && op <= 34) reader.skip(1);
  else if (op >= 84 && op <= 91) {
    skipMemoryArgument(reader);
    reader.skip(1);
  }
}

function skipAtomic(reader: BinaryReader, op: number): void {
  if (op === 3) reader.skip(1);
  else skipMemoryArgument(reader);
}
