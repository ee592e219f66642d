/** The code section of a core module: which instructions it has, and others in the place of some of them. */
import { BinaryReader, leb } from '../../../../images/wasm/binary-reader.ts';
import {
  memoryGrow,
  memorySize,
  skipInstruction,
  skipValueType,
  tableGrow,
  UnknownInstruction,
} from './wasm-instructions.ts';

interface FunctionBody {
  /** Where its size stands, its first local, and its end. */
  readonly start: number;
  readonly from: number;
  readonly end: number;
  /** Stands before the first instruction. */
  readonly instructions: BinaryReader;
}

function* functions(code: Uint8Array): Generator<FunctionBody> {
  const reader = new BinaryReader(code);
  for (let left = reader.u32(); left > 0; left--) {
    const start = reader.at;
    const body = reader.window(reader.u32(), 'a function');
    const from = body.at;
    for (let locals = body.u32(); locals > 0; locals--) {
      body.u32();
      skipValueType(body);
    }
    yield { start, from, end: body.end, instructions: body };
  }
}

/** Whether some function has one of these instructions. */
export function codeHas(code: Uint8Array, opcodes: readonly number[]): boolean {
  for (const { instructions } of functions(code)) {
    while (!instructions.done) if (opcodes.includes(skipInstruction(instructions))) return true;
  }
  return false;
}

/** Instructions, encoded. */
export interface Replacements {
  /** In the place of `memory.grow` and `memory.size`. */
  readonly grow: readonly number[];
  readonly size: readonly number[];
  /** Behind each `table.grow`. */
  readonly afterTableGrow: readonly number[];
}

/** The section with other instructions; null when there is nothing to replace. */
export function replaceSizing(code: Uint8Array, { grow, size, afterTableGrow }: Replacements): Uint8Array | null {
  const pieces: Uint8Array[] = [];
  let copied = 0;
  for (const { start, from, end, instructions } of functions(code)) {
    const inside: Uint8Array[] = [];
    let at = from;
    while (!instructions.done) {
      const place = instructions.at;
      const op = skipInstruction(instructions);
      if (op !== memoryGrow && op !== memorySize && op !== tableGrow) continue;
      if (op !== tableGrow && code[place + 1] !== 0) throw new UnknownInstruction('a second memory');
      const kept = op === tableGrow ? instructions.at : place;
      const instead = op === tableGrow ? afterTableGrow : op === memoryGrow ? grow : size;
      inside.push(code.subarray(at, kept), Uint8Array.from(instead));
      at = instructions.at;
    }
    if (at === from) continue;
    inside.push(code.subarray(at, end));
    const bytes = inside.reduce((sum, piece) => sum + piece.byteLength, 0);
    pieces.push(code.subarray(copied, start), Uint8Array.from(leb(bytes)), ...inside);
    copied = end;
  }
  if (pieces.length === 0) return null;
  return Buffer.concat([...pieces, code.subarray(copied)]);
}
