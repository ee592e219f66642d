/** Brings images onto the node: from a registry, from what a client sends, from what is here already. */
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ImageEvent } from '../gateway/admin/schemas.ts';
import {
  formatReference,
  type ImageCatalog,
  type ImageRecord,
  type ImageSource,
  importImage,
  type NamedReference,
  openImageSource,
  parseReference,
  type Reference,
  type RegistryReference,
} from '../images/oci/index.ts';
import { PushedSource, type Repositories } from '../images/registry/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import { daemonErrors } from './errors.ts';
import type { ImageTrust } from './image-trust.ts';

type Done = Extract<ImageEvent, { event: 'done' }>;

/** Layers in MiB are told as they come, no finer than this part of the whole. */
const STEPS = 10;

export interface ImageServiceParts {
  readonly blobs: ContentStore;
  readonly catalog: ImageCatalog;
  readonly repositories: Repositories;
  /** `HOST:PORT` of the node's own registry, each way that it may be called. */
  readonly registryHosts: () => readonly string[];
  /** What an image must have to come under its name. */
  readonly trust: Pick<ImageTrust, 'guard'>;
}

export class ImageService {
  readonly #blobs: ContentStore;
  readonly #catalog: ImageCatalog;
  readonly #repositories: Repositories;
  /** Archives on their way; emptied at the start. */
  readonly #incoming: string;
  readonly #registryHosts: () => readonly string[];
  readonly #trust: ImageServiceParts['trust'];
  readonly #stop = new AbortController();
  #serial = 0;

  private constructor(parts: ImageServiceParts, incoming: string) {
    this.#blobs = parts.blobs;
    this.#catalog = parts.catalog;
    this.#repositories = parts.repositories;
    this.#registryHosts = parts.registryHosts;
    this.#trust = parts.trust;
    this.#incoming = incoming;
  }

  static async open(parts: ImageServiceParts, folder: string): Promise<ImageService> {
    const incoming = join(folder, 'incoming');
    await rm(incoming, { recursive: true, force: true });
    await mkdir(incoming, { recursive: true, mode: 0o700 });
    return new ImageService(parts, incoming);
  }

  /**
   * `archive`: the image that `reference` names, when it is a file or a folder of the client's. Throws REFERENCE_INVALID,
   * IMAGE_NOT_HERE and the errors of `images/oci/errors.ts`.
   */
  async import(
    reference: string,
    archive: Readable | null,
    progress: (step: string) => void,
    signal: AbortSignal,
  ): Promise<Done> {
    const named = this.#own(parseReference(reference));
    const both = AbortSignal.any([signal, this.#stop.signal]);
    if (named.kind === 'own') {
      if (!this.#repositories.has(named.repository)) throw daemonErrors.IMAGE_NOT_HERE(reference);
      const source = this.#guarded(named, new PushedSource(named, this.#repositories, this.#blobs));
      // Its name is the repository's business: the tag may move, and what is deployed of it is kept by its digest.
      return { ...(await this.#take(source, null, progress, both)), name: formatReference(named) };
    }
    if (named.kind === 'registry')
      return this.#take(this.#guarded(named, await this.#open(named)), formatReference(named), progress, both);
    const path = join(this.#incoming, String(++this.#serial));
    try {
      if (!archive) throw daemonErrors.IMAGE_NOT_SENT(reference);
      await pipeline(archive, createWriteStream(path, { mode: 0o600 }), { signal: both });
      // The client's path means nothing here.
      return await this.#take(await this.#open({ ...named, path }), null, progress, both);
    } finally {
      await rm(path, { force: true });
    }
  }

  /** Brings an image, an OCI layout as a tar archive, and gives it a name. */
  async take(
    reference: string,
    archive: Readable,
    progress: (step: string) => void,
    signal: AbortSignal,
  ): Promise<Pick<Done, 'name' | 'artifact' | 'size'>> {
    const named = this.#own(parseReference(reference));
    if (named.kind !== 'own' && named.kind !== 'registry') throw daemonErrors.IMAGE_NOT_HERE(reference);
    const both = AbortSignal.any([signal, this.#stop.signal]);
    const path = join(this.#incoming, String(++this.#serial));
    try {
      await pipeline(archive, createWriteStream(path, { mode: 0o600 }), { signal: both });
      const source = await this.#open({ kind: 'oci', path, tag: null });
      const name = formatReference(named);
      // Of another registry's it is as if it had been pulled; one of our own is as if it had been pushed.
      if (named.kind === 'registry') return await this.#take(source, name, progress, both);
      const taken = await this.#take(source, null, progress, both);
      await this.#push(named, taken.artifact.digest);
      return { ...taken, name };
    } finally {
      await rm(path, { force: true });
    }
  }

  async #push({ repository, tag }: NamedReference, digest: string): Promise<void> {
    const record = this.#catalog.get(digest) as ImageRecord;
    for (const { digest: blob, size } of [record.config, ...record.layers]) {
      await this.#repositories.link(repository, blob, size);
    }
    const bytes = await this.#repositories.read(digest);
    const { mediaType } = record.manifest;
    await this.#repositories.put(repository, bytes, { contentType: mediaType, digest, tags: [tag ?? 'latest'] });
  }

  /** What is named at this node's own registry is here already. */
  #own(named: Reference): Reference {
    return named.kind === 'registry' ? ownReference(named, this.#registryHosts()) : named;
  }

  #guarded(named: NamedReference, source: ImageSource): ImageSource {
    const open = (tag: string) => this.#open({ ...(named as RegistryReference), tag, digest: null });
    return this.#trust.guard(named, source, open);
  }

  /** Ends what is on its way. */
  close(): void {
    this.#stop.abort();
  }

  #open(reference: Parameters<typeof openImageSource>[0]): Promise<ImageSource> {
    return openImageSource(reference, { stagingFolder: this.#incoming });
  }

  async #take(
    source: ImageSource,
    name: string | null,
    progress: (step: string) => void,
    signal: AbortSignal,
  ): Promise<Done> {
    let told = 0;
    const { record } = await importImage(source, this.#blobs, {
      signal,
      progress: (bytes, total) => {
        const tenth = Math.floor((bytes / Math.max(1, total)) * STEPS);
        if (tenth <= told) return;
        told = tenth;
        progress(`layers: ${Math.round(bytes / 2 ** 20)} of ${Math.round(total / 2 ** 20)} MiB`);
      },
    });
    // By its digest too, so that what is deployed is kept when its name goes to another image.
    await this.#catalog.put(record.manifest.digest, record);
    if (name !== null) await this.#catalog.put(name, record);
    return done(name ?? record.manifest.digest, record);
  }
}

/** By its name here, when the registry is the node's own. */
export function ownReference(named: NamedReference, hosts: readonly string[]): NamedReference {
  return hosts.includes(named.registry) ? { ...named, kind: 'own', registry: '' } : named;
}

function done(name: string, { manifest, layers }: ImageRecord): Done {
  const artifact = { digest: manifest.digest, mediaType: manifest.mediaType };
  return { event: 'done', artifact, name, size: layers.reduce((sum, { size }) => sum + size, 0) };
}
