/** Brings an image into the content store: what runs on this machine of it, each blob checked on its way. */
import { statfs } from 'node:fs/promises';
import { SkerryError } from '../../errors/skerry-error.ts';
import { applyDelta, canUseDeltas, mayDiffer } from '../delta/index.ts';
import { type ContentStore, digestOf } from '../store/index.ts';
import { type ImageConfig, parseConfig } from './config.ts';
import { checkBlob, type Descriptor, MAX_DOCUMENT_BYTES, type Manifest } from './documents.ts';
import { ociErrors } from './errors.ts';
import { isConfigType, isLayerType, WASM_CONFIG } from './media-types.ts';
import { fitOf, formatPlatform, hostPlatform, type Platform } from './platform.ts';
import type { ImageLayer, ImageRecord } from './record.ts';
import { resolveManifest } from './resolve.ts';
import type { ImageSource } from './source.ts';
import { transferEach } from './transfer.ts';
import { componentOf, WASM_PLATFORM } from './wasm-artifact.ts';

export interface ImportOptions {
  /** Of this machine when left out. */
  readonly platform?: Platform;
  /** All layers as they come, in bytes; four fifths of the free disk when left out. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
  /** Is told what it is before its layers are fetched; what it throws ends the import. */
  readonly kind?: (kind: 'container' | 'component') => void;
  /** Blobs of the store that may have much in common with this layer; see `images/delta`. */
  readonly bases?: (layer: Descriptor) => Promise<readonly string[]>;
  /** What has come or was there, of how many bytes of layers; a delta counts by its own. */
  readonly progress?: (bytes: number, total: number) => void;
}

export interface ImportedImage {
  readonly record: ImageRecord;
  /** Null where it is a component. */
  readonly config: ImageConfig | null;
}

/**
 * Stores the image's manifest, configuration and layers, and closes the source. What was there already is not read again.
 * When it throws, no record names what was stored: the sweep removes it. Throws the errors of `errors.ts` and of the
 * content store, and what `signal` aborts with.
 */
export async function importImage(
  source: ImageSource,
  store: ContentStore,
  options: ImportOptions = {},
): Promise<ImportedImage> {
  try {
    return await new Import(source, store, options).run();
  } finally {
    await source.close();
  }
}

/** Is told what came, and in place of how many bytes of a layer, when these are others. */
type Progress = (bytes: number, instead?: number) => void;

class Import {
  readonly #source: ImageSource;
  readonly #store: ContentStore;
  readonly #options: ImportOptions;
  readonly #platform: Platform;
  readonly #signal: AbortSignal;
  #done = 0;

  constructor(source: ImageSource, store: ContentStore, options: ImportOptions) {
    this.#source = source;
    this.#store = store;
    this.#options = options;
    this.#platform = options.platform ?? hostPlatform();
    this.#signal = options.signal ?? new AbortController().signal;
  }

  async run(): Promise<ImportedImage> {
    const { label } = this.#source;
    const resolved = await resolveManifest(this.#source, this.#platform, this.#signal);
    const { manifest, bytes, mediaType } = resolved;
    const configBytes = await this.#config(manifest);
    const isComponent = manifest.config.mediaType === WASM_CONFIG;
    const config = isComponent ? null : this.#containerConfig(configBytes);
    const layers = config ? this.#layers(manifest, config) : [component(manifest, configBytes, label)];
    this.#options.kind?.(config ? 'container' : 'component');
    await this.#fetch(manifest, layers);
    // A pull may take longer than a blob without a record is kept: what was swept meanwhile is fetched again.
    const swept = await this.#missing(layers);
    if (swept.length > 0) await this.#fetch(manifest, swept);
    await this.#store.putBytes(configBytes, { expectedDigest: manifest.config.digest });
    await this.#store.putBytes(bytes);
    const record: ImageRecord = {
      manifest: { mediaType, digest: digestOf(bytes), size: bytes.length },
      root: resolved.root,
      config: { digest: manifest.config.digest, size: configBytes.length },
      layers,
      platform: config?.platform ?? WASM_PLATFORM,
      ...(config ? {} : { component: layers[0]!.digest }),
      importedMs: Date.now(),
    };
    return { record, config };
  }

  async #config({ config }: Manifest): Promise<Uint8Array> {
    const { label } = this.#source;
    const known = isConfigType(config.mediaType) || config.mediaType === WASM_CONFIG;
    if (!known) throw ociErrors.IMAGE_NOT_A_CONTAINER(label, config.mediaType);
    if (config.size > MAX_DOCUMENT_BYTES)
      throw ociErrors.IMAGE_MALFORMED(label, `its configuration has more than ${MAX_DOCUMENT_BYTES} bytes`);
    const bytes = await this.#source.config(config, this.#signal);
    checkBlob(label, config, bytes);
    return bytes;
  }

  #containerConfig(bytes: Uint8Array): ImageConfig {
    const { label } = this.#source;
    const config = parseConfig(bytes, label);
    if (fitOf(config.platform, this.#platform) >= 0) return config;
    throw ociErrors.IMAGE_PLATFORM(label, formatPlatform(this.#platform), [formatPlatform(config.platform)]);
  }

  #layers({ layers }: Manifest, { diffIds }: ImageConfig): ImageLayer[] {
    const { label } = this.#source;
    if (layers.length !== diffIds.length)
      throw ociErrors.IMAGE_MALFORMED(
        label,
        `its manifest has ${layers.length} layers, and its configuration ${diffIds.length}`,
      );
    return layers.map(({ mediaType, digest, size }, number) => {
      if (!isLayerType(mediaType)) throw ociErrors.IMAGE_MEDIA_TYPE(label, `layer ${number + 1}`, mediaType);
      return { mediaType, digest, size, diffId: diffIds[number]! };
    });
  }

  async #checkRoom(layers: readonly ImageLayer[]): Promise<void> {
    if (layers.length === 0) return;
    const total = layers.reduce((sum, { size }) => sum + size, 0);
    const { bavail, bsize } = await statfs(this.#store.folder);
    const limit = this.#options.maxBytes ?? Math.floor(bavail * bsize * 0.8);
    if (total > limit) throw ociErrors.IMAGE_TOO_LARGE(this.#source.label, total, limit);
  }

  /** Those that the store does not have; the others count as put now, so that no sweep takes them. */
  async #missing(layers: readonly ImageLayer[]): Promise<ImageLayer[]> {
    const missing: ImageLayer[] = [];
    for (const layer of layers) if (!(await this.#store.renew(layer.digest))) missing.push(layer);
    return missing;
  }

  async #fetch(manifest: Manifest, layers: readonly ImageLayer[]): Promise<void> {
    this.#done = 0;
    const missing = new Map((await this.#missing(layers)).map((layer) => [layer.digest, layer]));
    await this.#checkRoom([...missing.values()]);
    // Rather than in the midst of them.
    await this.#store.space.require([...missing.values()].reduce((sum, { size }) => sum + size, 0));
    let total = manifest.layers.reduce((sum, { size }) => sum + size, 0);
    const progress: Progress = (bytes, instead = bytes) => {
      this.#done += bytes;
      total -= instead - bytes;
      this.#options.progress?.(this.#done, total);
    };
    for (const { digest, size } of layers) if (!missing.has(digest)) progress(size);
    // All of them come to an end before the source is closed.
    await transferEach([...missing.values()], this.#signal, (layer, signal) => this.#put(layer, signal, progress));
  }

  async #put(layer: ImageLayer, signal: AbortSignal, progress: Progress): Promise<void> {
    const whole = () => this.#source.layer(layer, signal);
    const bases = canUseDeltas() && mayDiffer(layer) ? ((await this.#options.bases?.(layer)) ?? []) : [];
    if (bases.length === 0 || !this.#source.layerOrDelta) return this.#putWhole(layer, whole(), signal, progress);
    // Whatever is wrong with a delta: the layer itself can be had.
    const came = await this.#source.layerOrDelta(layer, bases, signal).catch(whole);
    if (!Buffer.isBuffer(came)) return this.#putWhole(layer, came, signal, progress);
    try {
      await applyDelta(this.#store, came, layer, bases);
      progress(came.length, layer.size);
    } catch {
      signal.throwIfAborted();
      await this.#putWhole(layer, whole(), signal, progress);
    }
  }

  async #putWhole(
    layer: Descriptor,
    source: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    progress: Progress,
  ): Promise<void> {
    const { label } = this.#source;
    let size = 0;
    const counted = async function* () {
      for await (const piece of source) {
        signal.throwIfAborted();
        size += piece.length;
        if (size > layer.size) break;
        progress(piece.length);
        yield piece;
      }
      if (size !== layer.size)
        throw ociErrors.IMAGE_BLOB_MISMATCH(
          label,
          layer.digest,
          `has ${size > layer.size ? 'more' : size} bytes, and its manifest says ${layer.size}`,
        );
    };
    try {
      await this.#store.putStream(counted(), { expectedDigest: layer.digest });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SkerryError && error.code === 'DIGEST_MISMATCH')
        throw ociErrors.IMAGE_BLOB_MISMATCH(label, layer.digest, 'has other bytes than its digest says').because(error);
      throw error;
    }
  }
}

function component(manifest: Manifest, config: Uint8Array, image: string): ImageLayer {
  const { mediaType, digest, size } = componentOf(manifest, config, image);
  return { mediaType, digest, size, diffId: digest };
}
