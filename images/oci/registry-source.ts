/**
 * An image in a registry, by the command skopeo: it knows the registries' ways to authenticate, docker's and podman's files
 * of credentials and their helpers, mirrors and proxies. A client of another kind takes its place behind `ImageSource`.
 */
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '../store/index.ts';
import { type Descriptor, MAX_DOCUMENT_BYTES, parseDocument } from './documents.ts';
import { ociErrors } from './errors.ts';
import { formatReference, type RegistryReference } from './reference.ts';
import { runSkopeo } from './skopeo.ts';
import type { ChosenManifest, ImageSource, RootDocument } from './source.ts';

export interface RegistryOptions {
  /** An existing folder for layers on their way; on the disk of the content store. What a crash leaves there may go. */
  readonly stagingFolder: string;
  /** Registries (`HOST[:PORT]`) that are spoken to without TLS, or with a certificate that nobody vouches for. */
  readonly insecure?: readonly string[];
  /** Credentials in the form of docker's `config.json`; where skopeo looks for them when left out. */
  readonly authFile?: string;
  /** For all of the pull, in milliseconds; half an hour when left out. */
  readonly timeoutMs?: number;
  /** The command. */
  readonly skopeo?: string;
}

const DEFAULT_TIMEOUT_MS = 30 * 60_000;

export class RegistrySource implements ImageSource {
  readonly label: string;
  readonly #reference: RegistryReference;
  readonly #options: RegistryOptions;
  readonly #deadline: AbortSignal;
  readonly #timeoutMs: number;
  /** Digest of the manifest whose configuration is asked for. */
  #manifest: string | null = null;
  #staging: string | null = null;

  constructor(reference: RegistryReference, options: RegistryOptions) {
    this.label = formatReference(reference);
    this.#reference = reference;
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#deadline = AbortSignal.timeout(this.#timeoutMs);
  }

  async root(signal: AbortSignal): Promise<RootDocument> {
    const { tag, digest } = this.#reference;
    this.#manifest = digest;
    const bytes = await this.#run(['inspect', '--raw', ...this.#access(''), this.#url(digest ?? tag)], signal);
    if (digest !== null && digestOf(bytes) !== digest)
      throw ociErrors.IMAGE_BLOB_MISMATCH(this.label, digest, 'has other bytes than its digest says');
    const mediaType = this.#mediaTypeOf(bytes);
    return { bytes, mediaType };
  }

  /** The registry says it in a header, which skopeo keeps for itself; the two kinds say it in the document as well. */
  #mediaTypeOf(bytes: Uint8Array): string {
    parseDocument(bytes, this.label, 'its manifest');
    return JSON.parse(Buffer.from(bytes).toString()).mediaType ?? '';
  }

  manifest({ digest }: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    this.#manifest = digest;
    return this.#run(['inspect', '--raw', ...this.#access(''), this.#url(digest)], signal);
  }

  config(_descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    const at = this.#url(this.#manifest ?? this.#reference.tag);
    return this.#run(['inspect', '--config', '--raw', ...this.#access(''), at], signal);
  }

  /**
   * Fetches the wanted layers to the staging folder. Where skopeo finds a file under a layer's digest it takes that layer
   * for fetched: one that is not wanted gets a file with a hole as long as the layer, which takes no room.
   */
  async begin({ digest, manifest }: ChosenManifest, wanted: readonly Descriptor[], signal: AbortSignal): Promise<void> {
    await this.#removeStaging();
    this.#staging = await mkdtemp(join(this.#options.stagingFolder, 'pull-'));
    await mkdir(join(this.#staging, 'blobs', 'sha256'), { recursive: true });
    const fetched = new Set(wanted.map((layer) => layer.digest));
    for (const layer of manifest.layers) {
      if (fetched.has(layer.digest)) continue;
      await writeFile(this.#staged(layer), '');
      await truncate(this.#staged(layer), layer.size);
    }
    // Layers that are not compressed would be, on the way, and have other digests.
    const asTheyAre = '--dest-oci-accept-uncompressed-layers';
    const shared = ['--dest-shared-blob-dir', join(this.#staging, 'blobs'), asTheyAre];
    const to = `oci:${join(this.#staging, 'layout')}:image`;
    const largest = Math.max(...wanted.map(({ size }) => size), MAX_DOCUMENT_BYTES);
    await this.#run(['copy', '--quiet', ...this.#access('src-'), ...shared, this.#url(digest), to], signal, largest);
  }

  async *layer(descriptor: Descriptor, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const path = this.#staged(descriptor);
    try {
      yield* createReadStream(path, { highWaterMark: 256 * 1024, signal });
    } catch (error) {
      signal.throwIfAborted();
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw ociErrors.IMAGE_BLOB_MISSING(this.label, descriptor.digest).because(error);
    }
    await rm(path, { force: true });
  }

  #staged({ digest }: Descriptor): string {
    return join(this.#staging!, 'blobs', digest.replace(':', '/'));
  }

  #url(version: string | null): string {
    const { registry, repository } = this.#reference;
    return `docker://${registry}/${repository}${version?.startsWith('sha256:') ? '@' : ':'}${version}`;
  }

  #access(prefix: string): string[] {
    const { authFile, insecure = [] } = this.#options;
    const tls = insecure.includes(this.#reference.registry) ? [`--${prefix}tls-verify=false`] : [];
    return authFile === undefined ? tls : [...tls, `--${prefix}authfile`, authFile];
  }

  async #run(args: string[], signal: AbortSignal, maxFileBytes = MAX_DOCUMENT_BYTES): Promise<Uint8Array> {
    try {
      return await runSkopeo(args, {
        command: this.#options.skopeo ?? 'skopeo',
        image: this.label,
        registry: this.#reference.registry,
        maxFileBytes,
        signal: AbortSignal.any([signal, this.#deadline]),
      });
    } catch (error) {
      signal.throwIfAborted();
      if (this.#deadline.aborted) throw ociErrors.REGISTRY_TIMEOUT(this.label, this.#timeoutMs / 1000);
      throw error;
    }
  }

  async #removeStaging(): Promise<void> {
    if (this.#staging !== null) await rm(this.#staging, { recursive: true, force: true });
    this.#staging = null;
  }

  close(): Promise<void> {
    return this.#removeStaging();
  }
}
