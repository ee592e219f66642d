/**
 * Holds a component to its memory limit: rewrites the maximum of every memory and table of its core modules, so that all
 * of them together can never take more. A worker's own limit does not count WebAssembly memory.
 */
import { BinaryReader, leb } from '../../../../images/wasm/binary-reader.ts';

const page = 65_536;
/** What one element of a table costs V8: the entry itself and its dispatch data (signature, target, instance). */
const elementBytes = 32;
/** Elements of a table at most, for V8 as for other engines. */
const mostElements = 10_000_000;
/** The share of what is left that tables may grow by, when there are tables that grow. */
const tableShare = 1 / 16;

const tableSection = 4;
const memorySection = 5;

export interface LimitedModule {
  readonly bytes: Uint8Array;
  /** How many instances of it the component makes. */
  readonly instances: number;
  /** The memory that the host gives to each of them, in pages. */
  readonly memory?: { readonly initial: number; readonly maximum: number } | null;
}

/** A module held to its limits. */
export interface HeldModule {
  readonly bytes: Uint8Array;
  /** The memory to give to each instance, its maximum within the limit. */
  readonly memory: { readonly initial: number; readonly maximum: number } | null;
}

/** A table has more elements at its start than an engine allows in any. */
export class TableSizeError extends Error {}

/** The modules need more than the limit before they run at all. */
export class InitialMemoryError extends Error {
  readonly needed: number;
  constructor(needed: number) {
    super(`${needed} bytes at the start`);
    this.needed = needed;
  }
}

interface Limits {
  /** Bytes of what is counted. */
  readonly unit: number;
  readonly instances: number;
  readonly minimum: number;
  maximum: number;
  /** Where the limits stand in the module. */
  readonly from: number;
  readonly to: number;
  readonly flags: number;
}

interface Section {
  readonly start: number;
  readonly from: number;
  readonly to: number;
  readonly id: number;
  readonly limits: Limits[];
}

/** The same modules with maxima that add up to `limitBytes` at most. Throws an InitialMemoryError. */
export function limitMemory(modules: readonly LimitedModule[], limitBytes: number): HeldModule[] {
  const parsed = modules.map(({ bytes, instances }) => sections(bytes, instances));
  const given = modules.map(({ memory, instances }): Limits | null =>
    memory ? { ...memory, minimum: memory.initial, unit: page, instances, from: 0, to: 0, flags: 0 } : null,
  );
  const all = [...parsed.flat().flatMap((section) => section.limits), ...given.filter((limits) => limits !== null)];
  const initial = all.reduce((sum, { instances, minimum, unit }) => sum + instances * minimum * unit, 0);
  if (initial > limitBytes) throw new InitialMemoryError(initial);
  const tables = all.filter((limits) => limits.unit === elementBytes);
  const memories = all.filter((limits) => limits.unit === page);
  const rest = limitBytes - initial;
  const forTables = share(tables, Math.floor(rest * tableShare));
  share(memories, rest - forTables);
  return modules.map(({ bytes }, i) => {
    const memory = given[i];
    return {
      bytes: rewrite(bytes, parsed[i]!),
      memory: memory ? { initial: memory.minimum, maximum: memory.maximum } : null,
    };
  });
}

/** Gives each that can grow an equal part, what one cannot use to the others; the bytes given. */
function share(all: readonly Limits[], bytes: number): number {
  let left = bytes;
  const waiting = all.filter((limits) => limits.instances > 0).sort((a, b) => growth(a) - growth(b));
  for (let i = 0; i < waiting.length; i++) {
    const limits = waiting[i]!;
    const sharers = waiting.slice(i).reduce((sum, { instances }) => sum + instances, 0);
    const part = Math.floor(left / sharers / limits.unit);
    limits.maximum = Math.min(limits.maximum, limits.minimum + part);
    left -= (limits.maximum - limits.minimum) * limits.unit * limits.instances;
  }
  return bytes - left;
}

/** Bytes that one instance may grow by at most. */
function growth(limits: Limits): number {
  return (limits.maximum - limits.minimum) * limits.unit;
}

function sections(bytes: Uint8Array, instances: number): Section[] {
  const found: Section[] = [];
  const reader = new BinaryReader(bytes, 8);
  while (!reader.done) {
    const { id, start, content } = reader.section();
    if (id !== tableSection && id !== memorySection) continue;
    const from = content.at;
    const limits: Limits[] = [];
    for (let left = content.u32(); left > 0; left--) {
      if (id === memorySection) limits.push(readLimits(content, page, instances));
      else limits.push(readTable(content, instances));
    }
    found.push({ start, from, to: content.end, id, limits });
  }
  return found;
}

/** A table: a reference type, then its limits; or 0x40 0x00, the same, and an expression that fills it. */
function readTable(reader: BinaryReader, instances: number): Limits {
  let type = reader.byte();
  const filled = type === 0x40;
  if (filled) {
    reader.byte();
    type = reader.byte();
  }
  // (ref null ht) and (ref ht) carry a heap type.
  if (type === 0x63 || type === 0x64) reader.skipInteger();
  const limits = readLimits(reader, elementBytes, instances);
  if (filled) throw new RangeError('a table with an initial value');
  return limits;
}

function readLimits(reader: BinaryReader, unit: number, instances: number): Limits {
  const from = reader.at;
  const flags = reader.byte();
  // 1: has a maximum, 2: shared, 4: 64-bit. Others are proposals that V8 does not have.
  if (flags > 7) throw new RangeError(`limits of an unknown kind (${flags})`);
  const minimum = reader.u64();
  const highest = unit === page ? 65_536 : mostElements;
  if (unit === elementBytes && minimum > highest) {
    throw new TableSizeError(`a table has ${minimum} elements at its start, and ${highest} is the most`);
  }
  const maximum = flags & 1 ? Math.min(reader.u64(), highest) : highest;
  return { unit, instances, minimum, maximum: Math.max(maximum, minimum), from, to: reader.at, flags };
}

function rewrite(bytes: Uint8Array, found: readonly Section[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const section of found) {
    const content: Uint8Array[] = [];
    let inside = section.from;
    for (const limits of section.limits) {
      content.push(bytes.subarray(inside, limits.from));
      content.push(Uint8Array.from([limits.flags | 1, ...leb(limits.minimum), ...leb(limits.maximum)]));
      inside = limits.to;
    }
    content.push(bytes.subarray(inside, section.to));
    const size = content.reduce((sum, part) => sum + part.byteLength, 0);
    parts.push(bytes.subarray(at, section.start), Uint8Array.from([section.id, ...leb(size)]), ...content);
    at = section.to;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts);
}
