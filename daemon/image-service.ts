/** Brings images onto the node: from a registry, from what a client sends, from what is here already. */
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ImageEvent } from '../gateway/admin/schemas.ts';
import { gatewayErrors } from '../gateway/errors.ts';
import {
  artifactOf,
  formatReference,
  type ImageCatalog,
  type ImageRecord,
  type ImageSource,
  importImage,
  openImageSource,
  parseReference,
  type Reference,
} from '../images/oci/index.ts';
import { PushedSource, type Repositories } from '../images/registry/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import { daemonErrors } from './errors.ts';

type Done = Extract<ImageEvent, { event: 'done' }>;

/** Layers in MiB are told as they come, no finer than this part of the whole. */
const STEPS = 10;

export interface ImageServiceParts {
  readonly blobs: ContentStore;
  readonly catalog: ImageCatalog;
  readonly repositories: Repositories;
  /** `HOST:PORT` of the node's own registry, each way that it may be called. */
  readonly registryHosts: () => readonly string[];
  /** Container images, by any of its drivers. */
  readonly runsImages: () => boolean;
}

export class ImageService {
  readonly #blobs: ContentStore;
  readonly #catalog: ImageCatalog;
  readonly #repositories: Repositories;
  /** Archives on their way; emptied at the start. */
  readonly #incoming: string;
  readonly #registryHosts: () => readonly string[];
  readonly #runsImages: () => boolean;
  readonly #stop = new AbortController();
  #serial = 0;

  private constructor(parts: ImageServiceParts, incoming: string) {
    this.#blobs = parts.blobs;
    this.#catalog = parts.catalog;
    this.#repositories = parts.repositories;
    this.#registryHosts = parts.registryHosts;
    this.#runsImages = parts.runsImages;
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
      const source = new PushedSource(named, this.#repositories, this.#blobs);
      // Its name is the repository's business: the tag may move, and what is deployed of it is kept by its digest.
      return { ...(await this.#take(source, null, progress, both)), name: formatReference(named) };
    }
    if (named.kind === 'registry') return this.#take(await this.#open(named), formatReference(named), progress, both);
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

  /** What is named at this node's own registry is here already. */
  #own(named: Reference): Reference {
    const own = this.#registryHosts();
    return named.kind === 'registry' && own.includes(named.registry) ? { ...named, kind: 'own', registry: '' } : named;
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
      kind: (kind) => {
        if (kind === 'container' && !this.#runsImages()) throw gatewayErrors.IMAGES_NOT_RUN(source.label);
      },
      progress: (bytes, total) => {
        const tenth = Math.floor((bytes / Math.max(1, total)) * STEPS);
        if (tenth <= told) return;
        told = tenth;
        progress(`layers: ${Math.round(bytes / 2 ** 20)} of ${Math.round(total / 2 ** 20)} MiB`);
      },
    });
    // By its digest too, so that what is deployed is kept when its name goes to another image; a component is kept by its own.
    if (record.component === undefined) await this.#catalog.put(record.manifest.digest, record);
    if (name !== null) await this.#catalog.put(name, record);
    return done(name ?? artifactOf(record).digest, record);
  }
}

function done(name: string, record: ImageRecord): Done {
  return {
    event: 'done',
    artifact: artifactOf(record),
    name,
    size: record.layers.reduce((sum, { size }) => sum + size, 0),
  };
}
