/** Brings images onto the node: from a registry, from what a client sends, from what is here already. */
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '../errors/skerry-error.ts';
import type { TellProgress } from '../gateway/admin/ndjson.ts';
import type { ImageEvent, TaggedImage, TagRequest, TransferRequest } from '../gateway/admin/schemas.ts';
import type { ImageImport, ImageTransfers } from '../gateway/admin/services.ts';
import { gatewayErrors } from '../gateway/errors.ts';
import { buildErrors } from '../images/build/errors.ts';
import {
  artifactOf,
  formatReference,
  type ImageCatalog,
  type ImageRecord,
  type ImageSource,
  importImage,
  type NamedReference,
  type OwnReference,
  openImageSource,
  parseReference,
  type Reference,
  type RegistryReference,
} from '../images/oci/index.ts';
import { PushedSource, type Repositories } from '../images/registry/index.ts';
import { type Credentials, openRemote, type RemoteOptions, RemoteSource } from '../images/remote/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import { deltaBases } from './delta-bases.ts';
import { daemonErrors } from './errors.ts';
import { ImagePush, type ImagePushParts } from './image-push.ts';
import type { ImageTrust } from './image-trust.ts';
import type { RemoteAccess } from './remote-access.ts';
import { tellBytes } from './tell-bytes.ts';

type Done = Extract<ImageEvent, { event: 'done' }>;

/** Of a registry whose image is here already, in milliseconds: it is asked whether there is a newer one, and may be away. */
const ASK_AGAIN = { connectMs: 3000, answerMs: 10_000 };

export interface ImageServiceParts {
  readonly blobs: ContentStore;
  readonly catalog: ImageCatalog;
  readonly repositories: Repositories;
  readonly remote: RemoteAccess;
  /** `HOST:PORT` of the node's own registry, each way that it may be called. */
  readonly registryHosts: () => readonly string[];
  /** What an image must have to come under its name. */
  readonly trust: Pick<ImageTrust, 'guard' | 'admitTags'>;
  /** Container images, by any of its drivers. */
  readonly runsImages: () => boolean;
  readonly deployed: ImagePushParts['deployed'];
  readonly desired: ImagePushParts['desired'];
}

interface Taken {
  /** Null: by its digest alone. */
  readonly name: string | null;
  /** Refuses container images where none are run. */
  readonly toRun: boolean;
  /** Of a registry: it may send what differs from what is here. */
  readonly named?: RegistryReference;
}

export class ImageService implements ImageTransfers {
  readonly #parts: ImageServiceParts;
  readonly #push: ImagePush;
  /** Archives on their way; emptied at the start. */
  readonly #incoming: string;
  readonly #stop = new AbortController();
  #serial = 0;

  private constructor(parts: ImageServiceParts, incoming: string) {
    this.#parts = parts;
    this.#push = new ImagePush(parts);
    this.#incoming = incoming;
  }

  static async open(parts: ImageServiceParts, folder: string): Promise<ImageService> {
    const incoming = join(folder, 'incoming');
    await rm(incoming, { recursive: true, force: true });
    await mkdir(incoming, { recursive: true, mode: 0o700 });
    return new ImageService(parts, incoming);
  }

  /** Throws REFERENCE_INVALID, IMAGE_NOT_HERE, IMAGES_NOT_RUN, and the errors of `images/oci` and `images/remote`. */
  async import(
    { reference, archive, credentials }: ImageImport,
    progress: TellProgress,
    signal: AbortSignal,
  ): Promise<Done> {
    const named = this.#own(parseReference(reference));
    const both = AbortSignal.any([signal, this.#stop.signal]);
    if (named.kind === 'own') {
      const { repositories, blobs } = this.#parts;
      if (!repositories.has(named.repository)) throw daemonErrors.IMAGE_NOT_HERE(reference);
      const source = this.#guarded(named, new PushedSource(named, repositories, blobs));
      // Its name is the repository's business: the tag may move, and what is deployed of it is kept by its digest.
      const done = await this.#take(source, { name: null, toRun: true }, progress, both);
      return { ...done, name: formatReference(named) };
    }
    if (named.kind === 'registry') return this.#fromRegistry(named, credentials, progress, both);
    const path = join(this.#incoming, String(++this.#serial));
    try {
      if (!archive) throw daemonErrors.IMAGE_NOT_SENT(reference);
      await pipeline(archive, createWriteStream(path, { mode: 0o600 }), { signal: both });
      // The client's path means nothing here.
      const source = await openImageSource({ ...named, path });
      return await this.#take(source, { name: null, toRun: true }, progress, both);
    } finally {
      await rm(path, { force: true });
    }
  }

  /** Brings an image, an OCI layout as a tar archive, and gives it a name. */
  async take(
    reference: string,
    archive: Readable,
    progress: TellProgress,
    signal: AbortSignal,
  ): Promise<Pick<Done, 'name' | 'artifact' | 'size'>> {
    const named = this.#own(parseReference(reference));
    if (named.kind !== 'own' && named.kind !== 'registry') throw daemonErrors.IMAGE_NOT_HERE(reference);
    const both = AbortSignal.any([signal, this.#stop.signal]);
    const path = join(this.#incoming, String(++this.#serial));
    try {
      await pipeline(archive, createWriteStream(path, { mode: 0o600 }), { signal: both });
      const source = await openImageSource({ kind: 'oci', path, tag: null });
      const name = formatReference(named);
      // Of another registry's it is as if it had been pulled; one of our own is as if it had been pushed.
      if (named.kind === 'registry') return await this.#take(source, { name, toRun: false }, progress, both);
      const taken = await this.#take(source, { name: null, toRun: false }, progress, both);
      await this.#push.keep(named.repository, named.tag ?? 'latest', taken.artifact);
      return { ...taken, name };
    } finally {
      await rm(path, { force: true });
    }
  }

  /** Throws NO_REGISTRY_NAMED, and the errors of `images/oci` and `images/remote`. */
  async pull(
    { reference, insecure, credentials }: TransferRequest,
    progress: TellProgress,
    signal: AbortSignal,
  ): Promise<Done> {
    const named = this.#own(parseReference(reference));
    if (named.kind !== 'registry') throw daemonErrors.NO_REGISTRY_NAMED(reference);
    const both = AbortSignal.any([signal, this.#stop.signal]);
    const { remote } = this.#parts;
    const options = { ...remote, credentials: credentials ?? null, insecure: insecure.includes(named.registry) };
    const source = this.#guarded(named, new RemoteSource(named, options), options);
    return this.#take(source, { name: formatReference(named), toRun: false, named }, progress, both);
  }

  /** Throws what `ImagePush` throws. */
  async push(
    { reference, insecure, credentials }: TransferRequest,
    progress: TellProgress,
    signal: AbortSignal,
  ): Promise<Done> {
    const named = this.#own(parseReference(reference));
    if (named.kind !== 'registry' && named.kind !== 'own') throw daemonErrors.NO_REGISTRY_NAMED(reference);
    const both = AbortSignal.any([signal, this.#stop.signal]);
    const { remote } = this.#parts;
    return this.#push.push(named, { ...remote, credentials: credentials ?? null, insecure }, progress, both);
  }

  /**
   * A second name: of a repository here, under its policy, or of another registry, as if it had been pulled from there. Throws
   * IMAGE_NOT_HERE, IMAGE_NAME_NEEDED, UNSIGNED, and what an import throws.
   */
  async tag({ reference, name: wanted }: TagRequest): Promise<TaggedImage> {
    const { catalog, repositories, blobs, trust } = this.#parts;
    const [from, to] = [reference, wanted].map((text) => this.#own(parseReference(text))) as [Reference, Reference];
    if ((to.kind !== 'own' && to.kind !== 'registry') || to.tag === null) throw buildErrors.IMAGE_NAME_NEEDED(wanted);
    if (from.kind !== 'own' && from.kind !== 'registry') throw daemonErrors.IMAGE_NOT_HERE(reference);
    const name = formatReference(to);
    const record = from.kind === 'registry' ? catalog.get(formatReference(from)) : null;
    const pushed =
      from.kind === 'own' ? repositories.manifest(from.repository, from.digest ?? (from.tag as string)) : null;
    const root = record?.manifest ?? pushed;
    if (!root) throw daemonErrors.IMAGE_NOT_HERE(reference);
    if (to.kind === 'own') {
      await trust.admitTags(to.repository, root.digest, await repositories.read(root.digest), [to.tag]);
      await this.#push.keep(to.repository, to.tag, root);
    } else if (record) {
      await this.#keep({ ...record, importedMs: Date.now() }, name);
    } else {
      const source = new PushedSource(from as OwnReference, repositories, blobs);
      await this.#take(source, { name, toRun: false }, () => {}, this.#stop.signal);
    }
    return { name, digest: root.digest };
  }

  /** The newest, if its registry can be asked; else what was pulled under that name before. */
  async #fromRegistry(
    named: RegistryReference,
    credentials: Credentials | null,
    progress: TellProgress,
    signal: AbortSignal,
  ): Promise<Done> {
    const name = formatReference(named);
    const here = await this.#whole(name);
    // What a digest names never changes.
    if (here && named.digest !== null) return this.#again(name, here);
    const patience = here ? ASK_AGAIN : {};
    const options = { ...this.#parts.remote, ...patience, credentials, insecure: false };
    const source = this.#guarded(named, new RemoteSource(named, options), options);
    try {
      return await this.#take(source, { name, toRun: true, named }, progress, signal);
    } catch (error) {
      if (!here || !(error instanceof SkerryError) || !error.code.startsWith('REGISTRY_')) throw error;
      progress(`taking what was pulled before: ${error.what}`);
      return this.#again(name, here);
    }
  }

  /** A record whose parts are all there, or null. */
  async #whole(name: string): Promise<ImageRecord | null> {
    const record = this.#parts.catalog.get(name);
    if (!record) return null;
    for (const { digest } of [record.manifest, record.config, ...record.layers])
      if (!(await this.#parts.blobs.has(digest))) return null;
    return record;
  }

  async #again(name: string, here: ImageRecord): Promise<Done> {
    if (here.component === undefined) this.#checkRun(name);
    await this.#keep({ ...here, importedMs: Date.now() }, null);
    return done(name, here);
  }

  #checkRun(image: string): void {
    if (!this.#parts.runsImages()) throw gatewayErrors.IMAGES_NOT_RUN(image);
  }

  /** What is named at this node's own registry is here already. */
  #own(named: Reference): Reference {
    return named.kind === 'registry' ? ownReference(named, this.#parts.registryHosts()) : named;
  }

  /** What a policy requires of its name is asked for before anything of it is taken. */
  #guarded(named: NamedReference, source: ImageSource, options?: RemoteOptions): ImageSource {
    const open = () => {
      const { repository, transport } = openRemote(named as RegistryReference, 'pull', options as RemoteOptions);
      return { repository, close: () => transport.close() };
    };
    return this.#parts.trust.guard(named, source, open);
  }

  /** Ends what is on its way. */
  close(): void {
    this.#stop.abort();
  }

  async #take(
    source: ImageSource,
    { name, toRun, named }: Taken,
    progress: TellProgress,
    signal: AbortSignal,
  ): Promise<Done> {
    const { record } = await importImage(source, this.#parts.blobs, {
      signal,
      kind: (kind) => {
        if (toRun && kind === 'container') this.#checkRun(source.label);
      },
      bases: async (layer) => (named ? deltaBases(this.#parts, named, layer) : []),
      progress: tellBytes('layers', progress),
    });
    await this.#keep(record, name);
    return done(name ?? artifactOf(record).digest, record);
  }

  /** By its digest too, so that what is deployed is kept when its name goes to another image; a component is kept by its own. */
  async #keep(record: ImageRecord, name: string | null): Promise<void> {
    const { catalog } = this.#parts;
    if (record.component === undefined) await catalog.put(record.manifest.digest, record);
    if (name !== null) await catalog.put(name, record);
  }
}

/** By its name here, when the registry is the node's own. */
export function ownReference(named: NamedReference, hosts: readonly string[]): NamedReference {
  return hosts.includes(named.registry) ? { ...named, kind: 'own', registry: '' } : named;
}

function done(name: string, record: ImageRecord): Done {
  return {
    event: 'done',
    artifact: artifactOf(record),
    name,
    size: record.layers.reduce((sum, { size }) => sum + size, 0),
  };
}
