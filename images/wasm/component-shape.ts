/**
 * What two components have in common when only the contents of their memories differ: all else, code included. Functions
 * built from JavaScript are such a family: each is the same engine with another heap. What the generated code and the
 * instrumented core modules depend on is the shape alone, so that one component's serve the next.
 */
import { createHash } from 'node:crypto';
import { BinaryReader, MalformedBinary } from './binary-reader.ts';
import { type MemorySize, section, usualMemory } from './core-sections.ts';

/** `\0asm`, and the version and layer of a component. */
const preamble = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
const coreModuleSection = 1;
/** Of a core module: left out, and told by its presence alone. */
const left = new Set<number>([section.memory, section.dataCount, section.data]);

/** A core module at the top level of a component. */
export interface OwnModule {
  readonly bytes: Uint8Array;
  /** Content of its data section, or null. */
  readonly data: Uint8Array | null;
  /** Its one memory of the usual kind, in pages of 64 KiB; null when it has none of its own, or others. */
  readonly memory: MemorySize | null;
}

export interface ComponentShape {
  /** SHA-256 in hex digits: equal for components that differ only in data and in the sizes of memories. */
  readonly digest: string;
  readonly modules: readonly OwnModule[];
}

/** Null when the bytes are no component, or are cut off. Takes some 10 ms for a component of 13 MB. */
export function componentShape(component: Uint8Array): ComponentShape | null {
  if (preamble.some((byte, at) => component[at] !== byte)) return null;
  try {
    return readShape(component);
  } catch (error) {
    if (error instanceof MalformedBinary) return null;
    throw error;
  }
}

function readShape(component: Uint8Array): ComponentShape {
  const hash = createHash('sha256').update(component.subarray(0, 8));
  const modules: OwnModule[] = [];
  const reader = new BinaryReader(component, 8);
  while (!reader.done) {
    const { id, start, content } = reader.section();
    if (id !== coreModuleSection) hash.update(component.subarray(start, content.end));
    else modules.push(ownModule(component.subarray(content.at, content.end), (piece) => void hash.update(piece)));
  }
  return { digest: hash.digest('hex'), modules };
}

/** The same for a core module by itself. Throws a MalformedBinary. */
export function moduleShape(module: Uint8Array): string {
  const hash = createHash('sha256');
  ownModule(module, (piece) => void hash.update(piece));
  return hash.digest('hex');
}

function ownModule(bytes: Uint8Array, note: (piece: Uint8Array) => void): OwnModule {
  let data: Uint8Array | null = null;
  let memory: MemorySize | null = null;
  // No section has such an id: what follows belongs to the module until its end is told the same way.
  note(Uint8Array.of(0xfe));
  note(bytes.subarray(0, 8));
  const reader = new BinaryReader(bytes, 8);
  while (!reader.done) {
    const { id, start, content } = reader.section();
    const inside = bytes.subarray(content.at, content.end);
    if (id === section.memory) memory = usualMemory(inside);
    if (id === section.data) data = inside;
    if (left.has(id) && (id !== section.memory || memory !== null)) note(Uint8Array.of(0xff, id));
    else note(bytes.subarray(start, content.end));
  }
  note(Uint8Array.of(0xfe));
  return { bytes, data, memory };
}
