/** From what a reference names to the one manifest that this machine can run. */
import { digestOf } from '../store/index.ts';
import {
  checkBlob,
  type Descriptor,
  type Index,
  MAX_DOCUMENT_BYTES,
  type Manifest,
  parseDocument,
  platformOf,
} from './documents.ts';
import { ociErrors } from './errors.ts';
import { isIndexType, OCI_MANIFEST } from './media-types.ts';
import { fitOf, formatPlatform, type Platform } from './platform.ts';
import type { ImageSource } from './source.ts';
import { WASM_PLATFORM } from './wasm-artifact.ts';

export interface ResolvedManifest {
  readonly manifest: Manifest;
  /** As they came: another byte would be another digest. */
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  /** Digest of what the reference names: of an index, or the manifest's own. */
  readonly root: string;
}

/** Indexes in indexes: one level is in use, by builders that put attestations beside the image. */
const MAX_DEPTH = 4;
const MAX_INDEXES = 16;

/** Throws IMAGE_PLATFORM with what the image offers, IMAGE_MALFORMED, IMAGE_MEDIA_TYPE, and what the source throws. */
export async function resolveManifest(
  source: ImageSource,
  platform: Platform,
  signal: AbortSignal,
): Promise<ResolvedManifest> {
  const { bytes, mediaType } = await source.root(signal);
  const root = digestOf(bytes);
  const document = parseDocument(bytes, source.label, 'its manifest', mediaType);
  if (document.kind === 'manifest') return { manifest: document, bytes, mediaType: mediaType || OCI_MANIFEST, root };
  const search = new Search(source, platform, signal);
  // Every node runs components: one is taken where nothing else there is for this machine.
  const descriptor =
    (await search.within(document, 1)) ?? (await new Search(source, WASM_PLATFORM, signal).within(document, 1));
  if (!descriptor) throw ociErrors.IMAGE_PLATFORM(source.label, formatPlatform(platform), search.offers);
  const manifestBytes = await search.read(descriptor);
  const manifest = parseDocument(manifestBytes, source.label, 'its manifest', descriptor.mediaType);
  if (manifest.kind !== 'manifest') throw ociErrors.IMAGE_MALFORMED(source.label, 'its manifest is an index');
  return { manifest, bytes: manifestBytes, mediaType: descriptor.mediaType, root };
}

class Search {
  readonly #source: ImageSource;
  readonly #platform: Platform;
  readonly #signal: AbortSignal;
  readonly #offers = new Set<string>();
  #indexes = 0;

  constructor(source: ImageSource, platform: Platform, signal: AbortSignal) {
    this.#source = source;
    this.#platform = platform;
    this.#signal = signal;
  }

  get offers(): string[] {
    return [...this.#offers];
  }

  /** The manifest that fits best: of this index first, then of those it names. */
  async within({ manifests }: Index, depth: number): Promise<Descriptor | null> {
    const { label } = this.#source;
    if (depth > MAX_DEPTH) throw ociErrors.IMAGE_MALFORMED(label, `its indexes are nested deeper than ${MAX_DEPTH}`);
    const direct = manifests.filter(({ mediaType }) => !isIndexType(mediaType));
    let best: { descriptor: Descriptor; fit: number } | null = null;
    for (const descriptor of direct) {
      const offered = platformOf(descriptor);
      // Attestations call their platform unknown.
      if (!offered || offered.os === 'unknown') continue;
      this.#offers.add(formatPlatform(offered));
      const fit = fitOf(offered, this.#platform);
      if (fit >= 0 && fit > (best?.fit ?? -1)) best = { descriptor, fit };
    }
    if (best) return best.descriptor;
    // The configuration will tell what the only one is for.
    if (direct.length === 1 && manifests.length === 1 && !direct[0]!.platform) return direct[0]!;
    for (const descriptor of manifests) {
      if (!isIndexType(descriptor.mediaType)) continue;
      const offered = platformOf(descriptor);
      if (offered && fitOf(offered, this.#platform) < 0) {
        this.#offers.add(formatPlatform(offered));
        continue;
      }
      if (++this.#indexes > MAX_INDEXES)
        throw ociErrors.IMAGE_MALFORMED(label, `it has more than ${MAX_INDEXES} indexes`);
      const inner = parseDocument(await this.read(descriptor), label, 'an index in it', descriptor.mediaType);
      if (inner.kind !== 'index') throw ociErrors.IMAGE_MALFORMED(label, 'an index in it is a manifest');
      const found = await this.within(inner, depth + 1);
      if (found) return found;
    }
    return null;
  }

  async read(descriptor: Descriptor): Promise<Uint8Array> {
    const { label } = this.#source;
    if (descriptor.size > MAX_DOCUMENT_BYTES)
      throw ociErrors.IMAGE_MALFORMED(label, `a manifest in it has more than ${MAX_DOCUMENT_BYTES} bytes`);
    const bytes = await this.#source.manifest(descriptor, this.#signal);
    checkBlob(label, descriptor, bytes);
    return bytes;
  }
}
