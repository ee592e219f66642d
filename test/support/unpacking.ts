/** Unpacks layers from memory into a layer store of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SkerryError } from '../../errors/skerry-error.ts';
import {
  type LayerStore,
  type LayerStoreOptions,
  openLayerStore,
  type UnpackedLayer,
} from '../../images/layers/index.ts';
import { type BuiltLayer, layerOf } from './image-builder.ts';
import type { TarEntry } from './tar-writer.ts';

/** Users of the host that nobody is. */
export const range = { base: 300_000_000, count: 65_536 };

export class Unpacking {
  /** For what a test needs beside the store. */
  readonly folder: string;
  readonly store: LayerStore;
  #counter = 0;

  constructor(folder: string, store: LayerStore) {
    this.folder = folder;
    this.store = store;
  }

  static async start(options: Partial<LayerStoreOptions> = {}): Promise<Unpacking> {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-layers-'));
    return new Unpacking(folder, await openLayerStore(join(folder, 'layers'), { range, ...options }));
  }

  unpack({ blob, diffId }: Pick<BuiltLayer, 'blob' | 'diffId'>, signal?: AbortSignal): Promise<UnpackedLayer> {
    const path = join(this.folder, `layer-${this.#counter++}`);
    writeFileSync(path, blob);
    return this.store.unpack(path, diffId, signal);
  }

  /** The folder with the files of these entries. */
  async files(entries: readonly TarEntry[]): Promise<string> {
    return (await this.unpack(layerOf(entries, ''))).path;
  }

  async refusal(layer: readonly TarEntry[] | Pick<BuiltLayer, 'blob' | 'diffId'>): Promise<SkerryError> {
    const built = 'blob' in layer ? layer : layerOf(layer, '');
    try {
      await this.unpack(built);
    } catch (error) {
      return error as SkerryError;
    }
    throw new Error('the layer was unpacked');
  }

  end(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
