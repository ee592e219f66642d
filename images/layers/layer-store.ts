/** Unpacked layers, each in a folder of its own that all images with the layer share. */
import { chmod, chown, mkdir, open, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { SkerryError } from '../../errors/skerry-error.ts';
import { isDigest, syncFolder } from '../store/index.ts';
import { layerErrors } from './errors.ts';
import { type UnpackLimits, unpack } from './unpack.ts';
import { type IdRange, type StartAsNamespaceRoot, startByUtilLinux } from './user-namespace.ts';

/** The named moments of an unpacking, for tests that end the process at each of them. */
export type LayerStep = 'layer:created' | 'layer:unpacked' | 'layer:described' | 'layer:renamed' | 'layer:removing';

export interface LayerStoreOptions {
  /** Who owns the files: 0 in a layer is `base` on the disk. The same for all layers, as long as the folder is used. */
  readonly range: IdRange;
  readonly limits?: Partial<UnpackLimits>;
  /** How the unpacker gets into its user namespace; by util-linux when left out. */
  readonly start?: StartAsNamespaceRoot;
  readonly onStep?: (step: LayerStep) => void;
}

export interface UnpackedLayer {
  /** Digest of the uncompressed archive. */
  readonly diffId: string;
  /** The folder to give to overlayfs as a lower layer. */
  readonly path: string;
  /** Of the uncompressed archive. */
  readonly bytes: number;
  readonly entries: number;
}

export interface LayerStore {
  readonly folder: string;
  readonly range: IdRange;
  /**
   * Unpacks the layer, unless it is there. Resolves when it would survive a power cut. Several callers at once share one
   * unpacking, which goes on until the `signal` of each of them has aborted; each gets the reason of its own. Nothing is
   * kept when it throws the errors of `errors.ts`.
   * @param blob path of the layer as it came, with a digest that was checked; or a descriptor of it, at its beginning, that
   * stays open until this has settled
   */
  unpack(blob: string | number, diffId: string, signal?: AbortSignal): Promise<UnpackedLayer>;
  /** Null when the layer is not there. */
  find(diffId: string): Promise<UnpackedLayer | null>;
  list(): Promise<UnpackedLayer[]>;
  /** The caller knows that no container uses the layer. False when it was not there. */
  delete(diffId: string): Promise<boolean>;
}

/** Of layers on the disk: another one is unpacked again. */
const FORM = 1;
const MAX_BYTES = 16 * 2 ** 30;
const MAX_ENTRIES = 1_000_000;
const DEFAULTS = { maxRatio: 200, timeoutMs: 10 * 60_000 };

const descriptionSchema = z.object({ form: z.int(), base: z.int(), count: z.int(), bytes: z.int(), entries: z.int() });

/**
 * Opens the folder (made if missing, mode 0700) and removes what crashed unpackings left. The process must be root: throws
 * UNPACK_NOT_ROOT, LAYERS_NOT_WRITABLE.
 */
export async function openLayerStore(folder: string, options: LayerStoreOptions): Promise<LayerStore> {
  if (process.geteuid!() !== 0) throw layerErrors.UNPACK_NOT_ROOT();
  const store = new FolderLayerStore(folder, options);
  await store.prepare();
  return store;
}

interface SharedUnpacking {
  readonly layer: Promise<UnpackedLayer>;
  readonly stop: AbortController;
  /** Callers that have not gone. */
  waiting: number;
}

class FolderLayerStore implements LayerStore {
  readonly folder: string;
  readonly range: IdRange;
  readonly #layers: string;
  readonly #incoming: string;
  readonly #options: LayerStoreOptions;
  readonly #unpacking = new Map<string, SharedUnpacking>();
  #counter = 0;

  constructor(folder: string, options: LayerStoreOptions) {
    this.folder = folder;
    this.range = options.range;
    this.#options = options;
    this.#layers = join(folder, 'sha256');
    this.#incoming = join(folder, 'incoming');
  }

  async prepare(): Promise<void> {
    await this.#disk(async () => {
      // Nobody else writes here: whatever is in it belongs to a process that is gone.
      await rm(this.#incoming, { recursive: true, force: true });
      for (const path of [this.#layers, this.#incoming]) await mkdir(path, { recursive: true, mode: 0o700 });
      for (const path of [this.folder, dirname(this.folder)]) await syncFolder(path);
    });
  }

  async unpack(blob: string | number, diffId: string, signal = new AbortController().signal): Promise<UnpackedLayer> {
    signal.throwIfAborted();
    let shared = this.#unpacking.get(diffId);
    for (; shared?.stop.signal.aborted; shared = this.#unpacking.get(diffId)) await shared.layer.catch(() => {});
    if (!shared) {
      const stop = new AbortController();
      const layer = this.#unpackOnce(blob, diffId, stop.signal).finally(() => this.#unpacking.delete(diffId));
      shared = { layer, stop, waiting: 0 };
      this.#unpacking.set(diffId, shared);
    }
    return wait(shared, signal);
  }

  async #unpackOnce(blob: string | number, diffId: string, signal: AbortSignal): Promise<UnpackedLayer> {
    const found = await this.find(diffId);
    if (found) return found;
    const incoming = this.#newIncoming();
    const { base, count } = this.range;
    const inside = join(incoming, 'fs');
    try {
      await this.#disk(async () => {
        await mkdir(incoming, { mode: 0o700 });
        await mkdir(inside);
        await chmod(inside, 0o755);
        await chown(inside, base, base);
      });
      this.#reached('layer:created');
      const request = { blob, diffId, folder: inside, range: this.range, limits: await this.#limits(), signal };
      const { bytes, entries } = await unpack(request, this.#options.start ?? startByUtilLinux);
      this.#reached('layer:unpacked');
      const description = { form: FORM, base, count, bytes, entries };
      await this.#disk(() => writeDurably(join(incoming, 'layer.json'), JSON.stringify(description)));
      this.#reached('layer:described');
      await this.#disk(async () => {
        // One that cannot be used, or `find` would have given it.
        await this.#remove(diffId);
        await rename(incoming, this.#path(diffId));
        this.#reached('layer:renamed');
        await syncFolder(this.#layers);
      });
      return { diffId, path: join(this.#path(diffId), 'fs'), bytes, entries };
    } catch (error) {
      await rm(incoming, { recursive: true, force: true });
      throw error;
    }
  }

  /** What is not said otherwise, from what is free: four fifths of the bytes and half of the inodes. */
  async #limits(): Promise<UnpackLimits> {
    const { bavail, bsize, ffree } = await this.#disk(() => statfs(this.folder));
    const maxBytes = Math.min(MAX_BYTES, Math.floor(bavail * bsize * 0.8));
    // Some file systems make inodes as they need them and say that none is free.
    const maxEntries = ffree > 0 ? Math.min(MAX_ENTRIES, Math.floor(ffree / 2)) : MAX_ENTRIES;
    return { ...DEFAULTS, maxBytes, maxEntries, ...this.#options.limits };
  }

  async find(diffId: string): Promise<UnpackedLayer | null> {
    const path = this.#path(diffId);
    try {
      const text = await readFile(join(path, 'layer.json'), 'utf8');
      const { form, base, count, bytes, entries } = descriptionSchema.parse(JSON.parse(text));
      // Another range would give the files to other users.
      if (form !== FORM || base !== this.range.base || count !== this.range.count) return null;
      const files = join(path, 'fs');
      return (await stat(files)).isDirectory() ? { diffId, path: files, bytes, entries } : null;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined || code === 'ENOENT' || code === 'ENOTDIR') return null;
      throw explain(this.folder, error);
    }
  }

  async list(): Promise<UnpackedLayer[]> {
    const layers: UnpackedLayer[] = [];
    for (const name of await this.#disk(() => readdir(this.#layers))) {
      const layer = isDigest(`sha256:${name}`) ? await this.find(`sha256:${name}`) : null;
      if (layer) layers.push(layer);
    }
    return layers;
  }

  async delete(diffId: string): Promise<boolean> {
    return this.#disk(async () => {
      const removed = await this.#remove(diffId);
      await syncFolder(this.#layers);
      return removed;
    });
  }

  /** Out of its place at once, then bit by bit: a crash in between leaves no part of a layer that looks whole. */
  async #remove(diffId: string): Promise<boolean> {
    const aside = this.#newIncoming();
    try {
      await rename(this.#path(diffId), aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    this.#reached('layer:removing');
    await rm(aside, { recursive: true, force: true });
    return true;
  }

  #newIncoming(): string {
    return join(this.#incoming, `${process.pid}-${this.#counter++}`);
  }

  #path(diffId: string): string {
    if (!isDigest(diffId)) throw layerErrors.LAYER_MALFORMED(diffId, null, 'its name is not a digest');
    return join(this.#layers, diffId.slice('sha256:'.length));
  }

  #reached(step: LayerStep): void {
    this.#options.onStep?.(step);
  }

  async #disk<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw explain(this.folder, error);
    }
  }
}

/** The last caller that goes waits for the end, so that nothing is left of it. */
async function wait(shared: SharedUnpacking, signal: AbortSignal): Promise<UnpackedLayer> {
  shared.waiting++;
  let leave = () => {};
  const gone = new Promise<'gone'>((resolve) => {
    leave = () => {
      shared.waiting--;
      if (shared.waiting === 0) shared.stop.abort(signal.reason);
      else resolve('gone');
    };
    signal.addEventListener('abort', leave);
  });
  try {
    const first = await Promise.race([shared.layer, gone]);
    if (first === 'gone') throw signal.reason;
    return first;
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

function explain(folder: string, error: unknown): unknown {
  if (error instanceof SkerryError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') return layerErrors.LAYER_DISK_FULL('a layer', folder).because(error);
  return layerErrors.LAYERS_NOT_WRITABLE(folder, code ?? message).because(error);
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncFolder(dirname(path));
}
