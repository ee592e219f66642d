/**
 * Engine-independent inspection of a component: what it is, what it imports and exports. It walks the top level of the
 * component binary format (component-model, design/mvp/Binary.md) and leaves validation of the code to the engines.
 */
import { BinaryReader, MalformedBinary } from './binary-reader.ts';

/** Which version of WASI HTTP a component serves: 0.2 (`incoming-handler`) or 0.3 (`handler`). */
export type HttpHandler = 'p2' | 'p3';

export interface ComponentInfo {
  /** As the caller named the file. */
  readonly file: string;
  /** Names of the top-level imports that a host must provide, in their order: `wasi:http/types@0.2.10`. */
  readonly imports: readonly string[];
  readonly exports: readonly string[];
  /** Null when it exports no HTTP handler; p3 when it exports both. */
  readonly handler: HttpHandler | null;
  /** The component's own name from its name section, or null. */
  readonly name: string | null;
  /** Tools that made it, from its producers section: `rustc 1.95.0`. */
  readonly producers: readonly string[];
}

export type Inspection =
  | { readonly ok: true; readonly info: ComponentInfo }
  | { readonly ok: false; readonly problem: 'not-wasm' | 'core-module' | 'invalid'; readonly why: string };

/** One package of interfaces that a host links, and in which versions. */
export interface ImportOffer {
  /** `wasi:http`. */
  readonly package: string;
  /** Interface names, or `*` for all of the package. */
  readonly interfaces: readonly string[] | '*';
  /**
   * `0.2` stands for 0.2.0, 0.2.1 and so on; `0.3` also for its release candidates; a whole version for itself; an empty
   * one for a name without a version.
   */
  readonly version: string;
}

const magic = [0x00, 0x61, 0x73, 0x6d];
const coreModule = [0x01, 0x00, 0x00, 0x00];
/** Version 0x0d of the pre-standard binary format, layer 1 (component). */
const component = [0x0d, 0x00, 0x01, 0x00];

const section = { custom: 0, import: 10, export: 11, last: 12 } as const;
const sort = { core: 0x00, instance: 0x05 } as const;

/** Names taken from a component are shown to people: this bounds what is kept of them. */
const producersKept = 16;

/**
 * Looks at a binary without compiling it. Never throws, whatever the bytes.
 * @param file what to call it in `info` (a path or a workload's name)
 */
export function inspectComponent(bytes: Uint8Array, file: string): Inspection {
  if (!hasAt(bytes, 0, magic)) return { ok: false, problem: 'not-wasm', why: 'its first bytes are not "\\0asm"' };
  if (bytes.length < 8) return invalid(`it ends at byte ${bytes.length}, inside the preamble`);
  if (hasAt(bytes, 4, coreModule)) return { ok: false, problem: 'core-module', why: 'it is a core module' };
  if (!hasAt(bytes, 4, component)) {
    return invalid(`its version bytes are ${hex(bytes.subarray(4, 8))}, a component has ${hex(component)}`);
  }
  try {
    return { ok: true, info: walk(new BinaryReader(bytes, 8), file) };
  } catch (error) {
    if (error instanceof MalformedBinary) return invalid(error.message);
    throw error;
  }
}

function invalid(why: string): Inspection {
  return { ok: false, problem: 'invalid', why };
}

function hasAt(bytes: Uint8Array, offset: number, expected: readonly number[]): boolean {
  return expected.every((value, index) => bytes[offset + index] === value);
}

function hex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

function walk(reader: BinaryReader, file: string): ComponentInfo {
  const imports: string[] = [];
  const exports: string[] = [];
  const producers: string[] = [];
  let name: string | null = null;
  let handler: HttpHandler | null = null;

  while (!reader.done) {
    const { id, start, content: body } = reader.section();
    if (id > section.last) throw new MalformedBinary(`the section at byte ${start} has the unknown id ${id}`);
    if (id === section.import) {
      for (let left = body.u32('the number of imports'); left > 0; left--) {
        const name = readImport(body);
        if (name !== null) imports.push(name);
      }
    } else if (id === section.export) {
      for (let left = body.u32('the number of exports'); left > 0; left--) {
        const exported = readExport(body);
        exports.push(exported.name);
        if (exported.sort === sort.instance) handler = preferred(handler, handlerOf(exported.name));
      }
    } else if (id === section.custom) {
      const kind = body.name('the name of a custom section');
      if (kind === 'component-name') name = lenient(() => readComponentName(body)) ?? name;
      else if (kind === 'producers') lenient(() => readProducers(body, producers));
      continue;
    } else continue;
    if (!body.done) throw new MalformedBinary(`the section at byte ${start} is longer than its content`);
  }
  return { file, imports, exports, handler, name, producers };
}

/** Custom sections are for people: a broken one is no reason to refuse a component. */
function lenient<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof MalformedBinary) return undefined;
    throw error;
  }
}

function readExternName(reader: BinaryReader): string {
  const start = reader.at;
  const kind = reader.byte('the name of an import or export');
  // 0x01 once marked names of interfaces, which are now told by their syntax; tools still accept both.
  if (kind > 0x01) throw new MalformedBinary(`the name at byte ${start} is of the unknown kind ${kind}`);
  return reader.name('the name of an import or export');
}

/** The name of an import that the host must provide; null for a mere alias of a type imported before it. */
function readImport(reader: BinaryReader): string | null {
  const name = readExternName(reader);
  return skipExternType(reader) === 'alias' ? null : name;
}

function readExport(reader: BinaryReader): { name: string; sort: number } {
  const name = readExternName(reader);
  const start = reader.at;
  const of = reader.byte('the sort of an export');
  if (of > sort.instance) throw new MalformedBinary(`the export at byte ${start} is of the unknown sort ${of}`);
  if (of === sort.core) reader.byte('the core sort of an export');
  reader.u32('the index of an export');
  const ascribed = reader.byte('the type of an export');
  if (ascribed > 0x01) throw new MalformedBinary(`the export at byte ${start} has a malformed type`);
  if (ascribed === 0x01) skipExternType(reader);
  return { name, sort: of };
}

function skipExternType(reader: BinaryReader): 'alias' | 'other' {
  const what = 'the type of an import or export';
  const start = reader.at;
  const kind = reader.byte(what);
  switch (kind) {
    case 0x00: // a core module: its sort again, then the index of its type
      reader.byte(what);
      reader.u32(what);
      return 'other';
    case 0x01: // function
    case 0x04: // component
    case 0x05: // instance
      reader.u32(what);
      return 'other';
    case 0x02: // value: equal to another, or of a type
      if (reader.byte(what) === 0x00) reader.u32(what);
      else reader.skipS33(what);
      return 'other';
    case 0x03: // type: equal to another, or a fresh resource
      if (reader.byte(what) !== 0x00) return 'other';
      reader.u32(what);
      return 'alias';
    default:
      throw new MalformedBinary(`the type at byte ${start} is of the unknown kind ${kind}`);
  }
}

/** Subsection 0 of the `component-name` section. */
function readComponentName(reader: BinaryReader): string | null {
  while (!reader.done) {
    const id = reader.byte('a name subsection');
    const body = reader.window(reader.u32('the size of a name subsection'), 'a name subsection');
    if (id === 0) return body.name('the name of the component');
  }
  return null;
}

/** Source: tool-conventions, ProducersSection.md. */
function readProducers(reader: BinaryReader, into: string[]): void {
  for (let fields = reader.u32('the number of producer fields'); fields > 0; fields--) {
    reader.name('a producer field');
    for (let values = reader.u32('the number of producers'); values > 0; values--) {
      const tool = reader.name('a producer');
      const version = reader.name('the version of a producer');
      if (into.length < producersKept) into.push(version ? `${tool} ${version}` : tool);
    }
  }
}

function preferred(one: HttpHandler | null, other: HttpHandler | null): HttpHandler | null {
  return one === 'p3' || other === 'p3' ? 'p3' : (one ?? other);
}

function handlerOf(name: string): HttpHandler | null {
  const found = parseInterface(name);
  if (found?.package !== 'wasi:http') return null;
  if (found.interface === 'incoming-handler' && isIn('0.2', found.version)) return 'p2';
  if (found.interface === 'handler' && isIn('0.3', found.version)) return 'p3';
  return null;
}

/** `wasi:http/types@0.2.10` taken apart; the version is empty when the name has none. */
function parseInterface(name: string): { package: string; interface: string; version: string } | null {
  const slash = name.indexOf('/');
  if (slash < 0) return null;
  const at = name.indexOf('@', slash);
  if (at < 0) return { package: name.slice(0, slash), interface: name.slice(slash + 1), version: '' };
  return { package: name.slice(0, slash), interface: name.slice(slash + 1, at), version: name.slice(at + 1) };
}

/** Whether `version` is of the series `0.2`; names may carry the series alone, by the canonical form of versions. */
function isIn(series: string, version: string): boolean {
  if (version === series) return true;
  if (!version.startsWith(`${series}.`)) return false;
  return /^\d+(-[0-9A-Za-z.-]+)?$/.test(version.slice(series.length + 1));
}

/** The imports of a component that no offer covers, each once; empty when it can be linked. */
export function unofferedImports(info: Pick<ComponentInfo, 'imports'>, offered: readonly ImportOffer[]): string[] {
  const missing = info.imports.filter((name) => !isOffered(name, offered));
  return [...new Set(missing)];
}

/**
 * Whether an instance of it can serve one request only. ComponentizeJS's engine, StarlingMonkey, has one FetchEvent for its
 * life: to answer a second time is an error ("FetchEvent#respondWith can't be called twice").
 */
export function servesOneRequest({ producers }: Pick<ComponentInfo, 'producers'>): boolean {
  return producers.some((tool) => /^ComponentizeJS\b/.test(tool));
}

function isOffered(name: string, offered: readonly ImportOffer[]): boolean {
  const wanted = parseInterface(name);
  if (wanted === null) return false;
  return offered.some(
    (offer) =>
      offer.package === wanted.package &&
      (offer.interfaces === '*' || offer.interfaces.includes(wanted.interface)) &&
      isIn(offer.version, wanted.version),
  );
}
