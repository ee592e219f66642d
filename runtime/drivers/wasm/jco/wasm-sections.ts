/** A core module as its sections (core specification, section 5.5), to be changed and put together again. */
import { BinaryReader, leb } from '../../../../images/wasm/binary-reader.ts';
import { skipValueType, UnknownInstruction } from './wasm-instructions.ts';

/** The order of sections in a module: that of tags stands after that of memories. */
const order = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

export interface Sections {
  /** Content of each section that is not a custom one. */
  readonly content: Map<number, Uint8Array>;
  readonly custom: Uint8Array[];
}

export function splitModule(module: Uint8Array): Sections {
  const sections: Sections = { content: new Map(), custom: [] };
  const reader = new BinaryReader(module, 8);
  while (!reader.done) {
    const { id, start, content } = reader.section();
    if (id === 0) sections.custom.push(module.subarray(start, content.end));
    else sections.content.set(id, module.subarray(content.at, content.end));
  }
  return sections;
}

/** Custom sections go to the end: their place says nothing, except that names come after what they name. */
export function joinModule({ content, custom }: Sections): Uint8Array {
  const pieces: Uint8Array[] = [Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)];
  let written = 0;
  for (const id of order) {
    const bytes = content.get(id);
    if (!bytes) continue;
    pieces.push(Uint8Array.from([id, ...leb(bytes.byteLength)]), bytes);
    written++;
  }
  if (written < content.size) throw new UnknownInstruction('a section of an unknown kind');
  return Buffer.concat([...pieces, ...custom]);
}

/** How many entries a section has. */
export function count(content: Uint8Array | undefined): number {
  return content ? new BinaryReader(content).u32() : 0;
}

/** Adds one entry to a section, and makes the section when there is none. */
export function append(content: Map<number, Uint8Array>, id: number, entry: readonly number[]): void {
  const old = content.get(id) ?? Uint8Array.of(0);
  const reader = new BinaryReader(old);
  const entries = reader.u32();
  content.set(id, Buffer.concat([Uint8Array.from(leb(entries + 1)), old.subarray(reader.at), Uint8Array.from(entry)]));
}

/** A name as it stands in a module. */
export function nameBytes(name: string): number[] {
  const bytes = new TextEncoder().encode(name);
  return [...leb(bytes.length), ...bytes];
}

export interface ImportCounts {
  functions: number;
  globals: number;
  memories: number;
}

export function countImports(content: Uint8Array | undefined): ImportCounts {
  const counts = { functions: 0, globals: 0, memories: 0 };
  if (!content) return counts;
  const reader = new BinaryReader(content);
  for (let left = reader.u32(); left > 0; left--) {
    reader.skip(reader.u32());
    reader.skip(reader.u32());
    const kind = reader.byte();
    if (kind === 0) {
      counts.functions++;
      reader.u32();
    } else if (kind === 1) {
      skipValueType(reader);
      readLimits(reader);
    } else if (kind === 2) {
      counts.memories++;
      readLimits(reader);
    } else if (kind === 3) {
      counts.globals++;
      skipValueType(reader);
      reader.byte();
    } else if (kind === 4) {
      reader.byte();
      reader.u32();
    } else throw new UnknownInstruction(`an import of kind ${kind}`);
  }
  return counts;
}

export interface Limits {
  /** 1: has a maximum, 2: shared, 4: 64-bit. */
  readonly flags: number;
  readonly minimum: number;
  readonly maximum: number | null;
}

export function readLimits(reader: BinaryReader): Limits {
  const flags = reader.byte();
  if (flags > 7) throw new UnknownInstruction(`limits of kind ${flags}`);
  const minimum = reader.u64();
  return { flags, minimum, maximum: flags & 1 ? reader.u64() : null };
}
