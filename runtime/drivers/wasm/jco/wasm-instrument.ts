/**
 * Rewrites a core module so that its host can give it its memory and tell why it failed:
 * - The memory that it defines becomes one that it imports. A new memory for each request is costly (V8 reserves 10 GB of
 *   addresses for it, and frees it by its garbage collection only), so that the host clears one and gives it again. The
 *   size that the guest sees is then kept in a global, since a memory cannot shrink.
 * - What such a memory holds at the start goes into a module of its own, and its size is told by the host, so that modules
 *   which differ in these alone become one: V8 compiles it once, and what it has learned about its code serves them all.
 * - `memory.grow` or `table.grow` that fails is counted in a global: a trap after one is a matter of memory, and the memory's size alone
 *   does not tell (a guest may have asked for far more than was left).
 * - The start function becomes an export which the host calls at once, so that the counter can be read when it traps.
 */
import { BinaryReader, leb } from '../../../../images/wasm/binary-reader.ts';
import { type MemorySize, section, usualMemory } from '../../../../images/wasm/core-sections.ts';
import { codeHas, replaceSizing } from './wasm-code.ts';
import {
  dataDrop,
  memoryGrow,
  memoryInit,
  memorySize,
  skipValueType,
  UnknownInstruction,
} from './wasm-instructions.ts';
import { append, count, countImports, joinModule, nameBytes, type Sections, splitModule } from './wasm-sections.ts';

/** Names of what is added to a module's imports and exports. */
export const hostModule = 'skerry:host';
export const hostMemory = 'memory';
export const failedGrows = 'skerry:failed-grows';
export const startFunction = 'skerry:start';
/** The size that the guest sees, in pages; the host sets it before anything runs. */
export const knownPages = 'skerry:pages';

export interface Instrumented {
  readonly bytes: Uint8Array;
  readonly memory: MemorySize | null;
  /** Its data section is not in it any more: `dataModule` makes a module of that. */
  readonly detached: boolean;
}

/**
 * Rewrites all core modules of a component. A memory that a module shares with another which asks for its size, or grows
 * it, stays with its module: the two would disagree about its size.
 */
export function instrumentAll(modules: readonly { bytes: Uint8Array; detach: boolean }[]): Instrumented[] {
  const give = !modules.some(({ bytes }) => sizesForeignMemory(bytes));
  return modules.map(({ bytes, detach }) => instrument(bytes, give, detach));
}

/** One module; the module itself when there is nothing to change. `detach`: its data may be taken out. */
export function instrument(module: Uint8Array, giveMemory: boolean, detach = false): Instrumented {
  try {
    return rewrite(module, giveMemory, detach);
  } catch (error) {
    // A kind of module that is newer than this: it runs as it is, and its failures are told less well.
    if (error instanceof UnknownInstruction) return { bytes: module, memory: null, detached: false };
    throw error;
  }
}

function sizesForeignMemory(module: Uint8Array): boolean {
  try {
    const { content } = splitModule(module);
    if (countImports(content.get(section.import)).memories === 0) return false;
    return codeHas(content.get(section.code) ?? Uint8Array.of(0), [memoryGrow, memorySize]);
  } catch (error) {
    if (error instanceof UnknownInstruction) return true;
    throw error;
  }
}

function rewrite(module: Uint8Array, giveMemory: boolean, detach: boolean): Instrumented {
  const sections = splitModule(module);
  const { content } = sections;
  const memory = giveMemory ? givenMemory(sections) : null;
  const detached = memory !== null && detach && detachData(sections);
  const imported = countImports(content.get(section.import));
  const exported: number[][] = [];
  const code = content.get(section.code);
  const type = count(checkedTypes(content.get(section.type)));
  const grow = imported.functions + count(content.get(section.function));
  const tableGrown = grow + 1;
  const failed = imported.globals + count(content.get(section.global));
  const pages = failed + 1;
  const hasMemory = content.has(section.memory) || imported.memories > 0;
  const size = memory ? [0x23, ...leb(pages)] : [memorySize, 0];
  const replacements = { grow: call(grow), size, afterTableGrow: call(tableGrown) };
  const sized = code && replaceSizing(code, replacements);
  if (sized) {
    append(content, section.type, [0x60, 1, 0x7f, 1, 0x7f]);
    for (let more = 0; more < 2; more++) append(content, section.function, leb(type));
    append(content, section.global, [0x7f, 1, 0x41, 0, 0x0b]);
    if (memory) {
      append(content, section.global, [0x7f, 1, 0x41, 0, 0x0b]);
      exported.push([...nameBytes(knownPages), 3, ...leb(pages)]);
    }
    content.set(section.code, sized);
    append(content, section.code, memory ? givenGrow(leb(failed), leb(pages)) : ownGrow(leb(failed), hasMemory));
    append(content, section.code, grown(leb(failed)));
    exported.push([...nameBytes(failedGrows), 3, ...leb(failed)]);
  }
  if (memory) {
    const type = [2, 0, 0];
    append(content, section.import, [...nameBytes(hostModule), ...nameBytes(hostMemory), ...type]);
    content.delete(section.memory);
  }
  const start = content.get(section.start);
  if (start) {
    content.delete(section.start);
    exported.push([...nameBytes(startFunction), 0, ...start]);
  }
  for (const entry of exported) append(content, section.export, entry);
  if (exported.length === 0 && !memory) return { bytes: module, memory: null, detached };
  return { bytes: joinModule(sections), memory, detached };
}

/** The one memory that the module defines, when it is of the usual kind. */
function givenMemory({ content }: Sections): MemorySize | null {
  const own = content.get(section.memory);
  if (!own || countImports(content.get(section.import)).memories > 0) return null;
  return usualMemory(own);
}

/** Takes the data section out when nothing else in the module names it, and it can stand by itself. */
function detachData({ content }: Sections): boolean {
  const data = content.get(section.data);
  if (data) {
    const code = content.get(section.code);
    if ((code && codeHas(code, [memoryInit, dataDrop])) || !WebAssembly.validate(dataModule(data))) return false;
  }
  content.delete(section.data);
  content.delete(section.dataCount);
  return true;
}

/** A module that writes the segments of a data section into the memory that it is given. */
export function dataModule(data: Uint8Array): Uint8Array {
  const content = new Map([[section.data as number, data]]);
  append(content, section.import, [...nameBytes(hostModule), ...nameBytes(hostMemory), 2, 0, 0]);
  return joinModule({ content, custom: [] });
}

/** Types must be one each: in a recursive group the count of entries is not that of types. */
function checkedTypes(content: Uint8Array | undefined): Uint8Array | undefined {
  if (!content) return content;
  const reader = new BinaryReader(content);
  for (let left = reader.u32(); left > 0; left--) {
    if (reader.byte() !== 0x60) throw new UnknownInstruction('a type that is not a function');
    for (let half = 0; half < 2; half++) for (let types = reader.u32(); types > 0; types--) skipValueType(reader);
  }
  return content;
}

const i32 = 0x7f;
const minusOne = [0x41, 0x7f];

/** Counts a failure and goes on. */
const failure = (failed: readonly number[]) => [0x23, ...failed, 0x41, 1, 0x6a, 0x24, ...failed];

const call = (index: number) => [0x10, ...leb(index)];

/** Grows the module's own memory, if it has one; the counter goes up when that fails. */
function ownGrow(failed: readonly number[], hasMemory: boolean): number[] {
  if (!hasMemory) return sizedBody([0, 0x00, 0x0b]);
  return sizedBody([
    ...[0, 0x20, 0, memoryGrow, 0, 0x22, 0, ...minusOne, 0x46, 0x04, 0x40],
    ...[...failure(failed), 0x0b, 0x20, 0, 0x0b],
  ]);
}

/** Passes on what `table.grow` gave; the counter goes up when it failed. */
function grown(failed: readonly number[]): number[] {
  return sizedBody([0, 0x20, 0, ...minusOne, 0x46, 0x04, 0x40, ...failure(failed), 0x0b, 0x20, 0, 0x0b]);
}

/**
 * Grows a given memory: first into what it has already beyond the size that the guest knows, which is all zero, then in
 * truth. Locals: the pages asked for, the old size, the new size.
 */
function givenGrow(failed: readonly number[], pages: readonly number[]): number[] {
  const refuse = [...failure(failed), ...minusOne, 0x0f];
  return sizedBody([
    ...[1, 2, i32],
    ...[0x23, ...pages, 0x22, 1, 0x20, 0, 0x6a, 0x21, 2],
    // The sum overflowed.
    ...[0x20, 2, 0x20, 1, 0x49, 0x04, 0x40, ...refuse, 0x0b],
    ...[0x20, 2, memorySize, 0, 0x4b, 0x04, 0x40],
    ...[0x20, 2, memorySize, 0, 0x6b, memoryGrow, 0, ...minusOne, 0x46, 0x04, 0x40, ...refuse, 0x0b, 0x0b],
    ...[0x20, 2, 0x24, ...pages, 0x20, 1, 0x0b],
  ]);
}

function sizedBody(body: readonly number[]): number[] {
  return [...leb(body.length), ...body];
}
