/**
 * Rewrites a core module so that its host can tell why it failed:
 * - `memory.grow` that fails is counted in a global that the module exports: a trap after one is a matter of memory, and
 *   the memory's size alone does not tell (a guest may have asked for far more than was left);
 * - the start function becomes an export which the host calls at once, so that the counter can be read when it traps.
 */
import { BinaryReader, leb } from './binary-reader.ts';
import { memoryGrow, skipInstruction, skipValueType, UnknownInstruction } from './wasm-instructions.ts';

/** Names of what is added to a module's exports. */
export const failedGrows = 'skerry:failed-grows';
export const startFunction = 'skerry:start';

const section = { type: 1, import: 2, function: 3, global: 6, export: 7, start: 8, code: 10 } as const;
/** The order of sections in a module (core specification, section 5.5.2): the tag section stands after the memories. */
const order = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

interface Parts {
  /** Content of each section that is not a custom one. */
  readonly content: Map<number, Uint8Array>;
  readonly custom: Uint8Array[];
}

/** The module with its counter; the module itself when it neither grows its memory nor starts by itself. */
export function instrument(module: Uint8Array): Uint8Array {
  try {
    return rewrite(module);
  } catch (error) {
    // A kind of module that is newer than this: it runs as it is, and its failures are told less well.
    if (error instanceof UnknownInstruction) return module;
    throw error;
  }
}

function rewrite(module: Uint8Array): Uint8Array {
  const parts = take(module);
  const { content } = parts;
  const exported: number[][] = [];
  const imported = countImports(content.get(section.import));
  const functions = count(content.get(section.function));
  const code = content.get(section.code);
  const probe = imported.functions + functions;
  const grown = code && replaceGrows(code, probe);
  if (grown) {
    const global = imported.globals + count(content.get(section.global));
    const type = count(checkedTypes(content.get(section.type)));
    append(content, section.type, [0x60, 1, 0x7f, 1, 0x7f]);
    append(content, section.function, leb(type));
    append(content, section.global, [0x7f, 1, 0x41, 0, 0x0b]);
    content.set(section.code, grown);
    append(content, section.code, probeBody(global));
    exported.push([...text(failedGrows), 3, ...leb(global)]);
  }
  const start = content.get(section.start);
  if (start) {
    content.delete(section.start);
    exported.push([...text(startFunction), 0, ...start]);
  }
  for (const entry of exported) append(content, section.export, entry);
  return exported.length === 0 ? module : join(module, parts);
}

function take(module: Uint8Array): Parts {
  const parts: Parts = { content: new Map(), custom: [] };
  const reader = new BinaryReader(module, 8);
  while (!reader.done) {
    const { id, start, content } = reader.section();
    if (id === 0) parts.custom.push(module.subarray(start, content.end));
    else parts.content.set(id, module.subarray(content.at, content.end));
  }
  return parts;
}

/** Custom sections go to the end: their place says nothing, except that names come after what they name. */
function join(module: Uint8Array, { content, custom }: Parts): Uint8Array {
  const pieces: Uint8Array[] = [module.subarray(0, 8)];
  for (const id of order) {
    const bytes = content.get(id);
    if (!bytes) continue;
    pieces.push(Uint8Array.from([id, ...leb(bytes.byteLength)]), bytes);
    content.delete(id);
  }
  if (content.size > 0) throw new UnknownInstruction('a section of an unknown kind');
  return Buffer.concat([...pieces, ...custom]);
}

function count(content: Uint8Array | undefined): number {
  return content ? new BinaryReader(content).number() : 0;
}

/** Adds one entry to a section's vector. */
function append(content: Map<number, Uint8Array>, id: number, entry: readonly number[]): void {
  const old = content.get(id) ?? Uint8Array.of(0);
  const reader = new BinaryReader(old);
  const entries = reader.number();
  content.set(id, Buffer.concat([Uint8Array.from(leb(entries + 1)), old.subarray(reader.at), Uint8Array.from(entry)]));
}

/** Types must be one each: in a recursive group the count of entries is not that of types. */
function checkedTypes(content: Uint8Array | undefined): Uint8Array | undefined {
  if (!content) return content;
  const reader = new BinaryReader(content);
  for (let left = reader.number(); left > 0; left--) {
    if (reader.byte() !== 0x60) throw new UnknownInstruction('a type that is not a function');
    for (let half = 0; half < 2; half++) for (let types = reader.number(); types > 0; types--) skipValueType(reader);
  }
  return content;
}

function countImports(content: Uint8Array | undefined): { functions: number; globals: number } {
  const counts = { functions: 0, globals: 0 };
  if (!content) return counts;
  const reader = new BinaryReader(content);
  for (let left = reader.number(); left > 0; left--) {
    reader.skip(reader.number());
    reader.skip(reader.number());
    const kind = reader.byte();
    if (kind === 0) {
      counts.functions++;
      reader.number();
    } else if (kind === 1) {
      skipValueType(reader);
      skipLimits(reader);
    } else if (kind === 2) skipLimits(reader);
    else if (kind === 3) {
      counts.globals++;
      skipValueType(reader);
      reader.byte();
    } else if (kind === 4) {
      reader.byte();
      reader.number();
    } else throw new UnknownInstruction(`an import of kind ${kind}`);
  }
  return counts;
}

function skipLimits(reader: BinaryReader): void {
  const flags = reader.byte();
  if (flags > 7) throw new UnknownInstruction(`limits of kind ${flags}`);
  reader.number();
  if (flags & 1) reader.number();
}

/** The code section with each `memory.grow` as a call of the probe, or null when there is none. */
function replaceGrows(code: Uint8Array, probe: number): Uint8Array | null {
  const call = Uint8Array.from([0x10, ...leb(probe)]);
  const pieces: Uint8Array[] = [];
  const reader = new BinaryReader(code);
  let copied = 0;
  for (let left = reader.number(); left > 0; left--) {
    const start = reader.at;
    const size = reader.number();
    const from = reader.at;
    const body = new BinaryReader(code, from, from + size);
    reader.skip(size);
    const places = growPlaces(body);
    if (places.length === 0) continue;
    const inside: Uint8Array[] = [];
    let at = from;
    for (const [place, end] of places) {
      inside.push(code.subarray(at, place), call);
      at = end;
    }
    inside.push(code.subarray(at, from + size));
    const length = inside.reduce((sum, piece) => sum + piece.byteLength, 0);
    pieces.push(code.subarray(copied, start), Uint8Array.from(leb(length)), ...inside);
    copied = from + size;
  }
  if (pieces.length === 0) return null;
  return Buffer.concat([...pieces, code.subarray(copied)]);
}

/** Where `memory.grow` begins and ends in a function's body. */
function growPlaces(body: BinaryReader): [number, number][] {
  const places: [number, number][] = [];
  for (let left = body.number(); left > 0; left--) {
    body.number();
    skipValueType(body);
  }
  while (!body.done) {
    const at = body.at;
    if (skipInstruction(body) !== memoryGrow) continue;
    if (body.bytes[at + 1] !== 0) throw new UnknownInstruction('a second memory');
    places.push([at, body.at]);
  }
  return places;
}

/** Grows memory 0 and counts in the global when that fails. */
function probeBody(global: number): number[] {
  const index = leb(global);
  const body = [
    ...[0, 0x20, 0, memoryGrow, 0, 0x22, 0, 0x41, 0x7f, 0x46, 0x04, 0x40],
    ...[0x23, ...index, 0x41, 1, 0x6a, 0x24, ...index, 0x0b, 0x20, 0, 0x0b],
  ];
  return [...leb(body.length), ...body];
}

function text(name: string): number[] {
  const bytes = new TextEncoder().encode(name);
  return [...leb(bytes.length), ...bytes];
}
