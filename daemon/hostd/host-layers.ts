/** Unpacked layers, as the driver of containers asks for them: by their names, never by paths. */
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayerStore } from '../../images/layers/index.ts';
import type { HostLayers, ImageAccounts } from '../../runtime/drivers/container/host.ts';
import { hostErrors } from './errors.ts';

/** Of /etc/passwd and /etc/group, in bytes: more is not looked at. */
const MAX_ACCOUNT_BYTES = 1024 * 1024;

export class StoredLayers implements HostLayers {
  readonly #store: LayerStore;
  /** Paths by diff id: of layers that were looked for, so that a start need not read the disk. Nobody else changes them. */
  readonly #found = new Map<string, string>();

  constructor(store: LayerStore) {
    this.#store = store;
  }

  async has(diffId: string): Promise<boolean> {
    return (await this.#store.find(diffId)) !== null;
  }

  async unpack(diffId: string, blob: number): Promise<void> {
    await this.#store.unpack(blob, diffId);
  }

  async list(): Promise<string[]> {
    return (await this.#store.list()).map(({ diffId }) => diffId);
  }

  delete(diffId: string): Promise<boolean> {
    this.#found.delete(diffId);
    return this.#store.delete(diffId);
  }

  async accounts(layers: readonly string[]): Promise<ImageAccounts> {
    const folders = await this.folders(layers);
    return { passwd: await fileOf(folders, 'etc', 'passwd'), group: await fileOf(folders, 'etc', 'group') };
  }

  /** Where they are. Throws LAYER_NOT_HERE. */
  folders(layers: readonly string[]): Promise<string[]> {
    return Promise.all(
      layers.map(async (diffId) => {
        const found = this.#found.get(diffId) ?? (await this.#store.find(diffId))?.path;
        if (found === undefined) throw hostErrors.LAYER_NOT_HERE(diffId);
        this.#found.set(diffId, found);
        return found;
      }),
    );
  }
}

/**
 * A file of an image by its unpacked layers, the topmost first; empty when it has none. Only a plain file in plain folders:
 * a link could lead to the host's.
 */
async function fileOf(layers: readonly string[], folder: string, name: string): Promise<string> {
  for (const layer of layers) {
    const parent = await lstat(join(layer, folder)).catch(() => null);
    if (!parent) continue;
    const found = parent.isDirectory() ? await lstat(join(layer, folder, name)).catch(() => null) : null;
    if (found?.isFile() && found.size <= MAX_ACCOUNT_BYTES) return readFile(join(layer, folder, name), 'utf8');
    // A whiteout, a link, or a folder that hides those below.
    if (found || !parent.isDirectory()) return '';
  }
  return '';
}
