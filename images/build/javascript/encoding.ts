/** From the core module that a snapshot leaves to a component. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { BinaryReader, leb } from '../../wasm/binary-reader.ts';
import { moduleShape } from '../../wasm/component-shape.ts';
import { section } from '../../wasm/core-sections.ts';
import { componentizeVersion } from './toolchain.ts';

/** Of a component (component-model, Binary.md): a core module in it. */
const coreModuleSection = 1;

/** Encodes a module as a component: seconds of work, most of it to load the encoder and to check the whole engine. */
export async function encode(module: Uint8Array): Promise<Uint8Array> {
  const encoder = await import('@bytecodealliance/jco');
  const adapter = await readFile(encoder.preview1AdapterReactorPath());
  const bare = await encoder.componentNew(module, [['wasi_snapshot_preview1', adapter]]);
  return encoder.metadataAdd(bare, [
    ['language', [['JavaScript', '']]],
    ['processed-by', [['ComponentizeJS', componentizeVersion]]],
  ]);
}

/**
 * A component that another can be made from by putting its module in the place of this one's. All functions are the same
 * engine with another heap, and what the encoder puts around the engine, and notes at its end, depends on all but that.
 */
export class Template {
  readonly #component: Uint8Array;
  readonly #place: Place;
  readonly #parts: Parts;
  readonly #shape: string;

  private constructor(component: Uint8Array, place: Place) {
    this.#component = component;
    this.#place = place;
    this.#parts = parts(place.module);
    this.#shape = moduleShape(this.#parts.plain);
  }

  /** Keeps what `encode` made of a module, unless it has changed the module in more than its notes. */
  static async store(path: string, module: Uint8Array, component: Uint8Array): Promise<void> {
    const place = largestModule(component);
    if (!place || Buffer.compare(parts(place.module).plain, parts(module).plain) !== 0) return;
    const part = `${path}.${process.pid}`;
    await writeFile(part, component);
    await rename(part, path);
  }

  /** Null when there is none. */
  static async read(path: string): Promise<Template | null> {
    const component = await readFile(path).catch(() => null);
    const place = component && largestModule(component);
    return component && place ? new Template(component, place) : null;
  }

  /** The component of a module; null when the module differs from the template's in more than its memory. */
  fill(module: Uint8Array): Uint8Array | null {
    const { plain } = parts(module);
    if (moduleShape(plain) !== this.#shape) return null;
    const { start, end } = this.#place;
    const { notes } = this.#parts;
    const head = Uint8Array.from([coreModuleSection, ...leb(plain.byteLength + notes.byteLength)]);
    return Buffer.concat([this.#component.subarray(0, start), head, plain, notes, this.#component.subarray(end)]);
  }
}

interface Place {
  readonly start: number;
  readonly end: number;
  readonly module: Uint8Array;
}

/** The engine, beside the small modules that the encoder adds. */
function largestModule(component: Uint8Array): Place | null {
  let largest: Place | null = null;
  const reader = new BinaryReader(component, 8);
  while (!reader.done) {
    const { id, start, content } = reader.section();
    if (id !== coreModuleSection) continue;
    const module = component.subarray(content.at, content.end);
    if (!largest || module.byteLength > largest.module.byteLength) largest = { start, end: content.end, module };
  }
  return largest;
}

interface Parts {
  /** The module without its custom sections. */
  readonly plain: Uint8Array;
  /** Its custom sections, which say nothing to those who run it. */
  readonly notes: Uint8Array;
}

function parts(module: Uint8Array): Parts {
  const plain: Uint8Array[] = [module.subarray(0, 8)];
  const notes: Uint8Array[] = [];
  const reader = new BinaryReader(module, 8);
  while (!reader.done) {
    const { id, start, content } = reader.section();
    (id === section.custom ? notes : plain).push(module.subarray(start, content.end));
  }
  return { plain: Buffer.concat(plain), notes: Buffer.concat(notes) };
}
