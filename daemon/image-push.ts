/** Sends what the node has under a name to the registry that the name says; without a registry in it, to the node's own. */
import { readFile } from 'node:fs/promises';
import type { TellProgress } from '../gateway/admin/ndjson.ts';
import type { ImageEvent } from '../gateway/admin/schemas.ts';
import {
  COMPONENT,
  type Descriptor,
  formatReference,
  type ImageCatalog,
  makeWasmArtifact,
  type NamedReference,
  OCI_MANIFEST,
} from '../images/oci/index.ts';
import type { Repositories } from '../images/registry/index.ts';
import { openRemote, pushImage, type RemoteOptions } from '../images/remote/index.ts';
import { inspectComponent } from '../images/wasm/component.ts';
import { type DeltaSources, deltaBases } from './delta-bases.ts';
import { daemonErrors } from './errors.ts';
import { tellBytes } from './tell-bytes.ts';

type Done = Extract<ImageEvent, { event: 'done' }>;
interface Artifact {
  readonly digest: string;
  readonly mediaType: string;
}

export interface ImagePushParts extends DeltaSources {
  readonly catalog: ImageCatalog;
  readonly repositories: Repositories;
  /** What the revision with the most of the traffic of this workload is made from; null when there is none. */
  readonly deployed: (workload: string) => Artifact | null;
}

/** What is to be sent, and what it is here. */
interface Found {
  readonly root: Artifact;
  readonly what: string;
}

export class ImagePush {
  readonly #parts: ImagePushParts;

  constructor(parts: ImagePushParts) {
    this.#parts = parts;
  }

  /** Throws NOTHING_TO_PUSH, PUSH_DIGEST, and the errors of `images/remote`. */
  async push(
    named: NamedReference,
    { insecure, ...access }: Omit<RemoteOptions, 'insecure'> & { readonly insecure: readonly string[] },
    progress: TellProgress,
    signal: AbortSignal,
  ): Promise<Done> {
    const name = formatReference(named);
    const { root, what } = await this.#find(named);
    if (named.digest !== null && named.digest !== root.digest) throw daemonErrors.PUSH_DIGEST(name, root.digest);
    progress(`${name}: ${what}`);
    const reference = named.digest ?? (named.tag as string);
    const done = (size: number): Done => ({ event: 'done', artifact: root, name, size });
    const { blobs } = this.#parts;
    if (named.kind === 'own') return done(await this.keep(named.repository, reference, root));
    const options = { ...access, insecure: insecure.includes(named.registry) };
    const bases = (blob: Descriptor) => deltaBases(this.#parts, named, blob);
    const { repository, transport } = openRemote(named, 'push', options);
    try {
      const tell = tellBytes('blobs', progress);
      return done(
        await pushImage(repository, { image: name, root, blobs }, reference, { signal, bases, progress: tell }),
      );
    } finally {
      await transport.close();
    }
  }

  /** Under the whole name; else what was pushed to this node under its repository; else the workload of its last part. */
  async #find(named: NamedReference): Promise<Found> {
    const { catalog, repositories, deployed } = this.#parts;
    const { repository, tag, digest } = named;
    const name = formatReference(named);
    const pulled = catalog.get(name);
    if (pulled) return { root: pulled.manifest, what: 'as it was pulled' };
    const pushed = repositories.manifest(repository, digest ?? (tag as string));
    if (pushed)
      return { root: pushed, what: `${formatReference({ ...named, kind: 'own', registry: '' })} of this node` };
    const workload = repository.slice(repository.lastIndexOf('/') + 1);
    const artifact = deployed(workload);
    if (!artifact) throw daemonErrors.NOTHING_TO_PUSH(name, workload);
    const what = `what is deployed as ${workload}`;
    if (artifact.mediaType !== COMPONENT) return { root: artifact, what };
    return { root: await this.#componentArtifact(artifact.digest, workload), what: `${what}, as a Wasm artifact` };
  }

  async #componentArtifact(digest: string, workload: string): Promise<Artifact> {
    const { blobs } = this.#parts;
    const { path, size } = await blobs.open(digest);
    const inspection = inspectComponent(await readFile(path), workload);
    const info = inspection.ok ? inspection.info : { exports: [], imports: [] };
    const { config, manifest } = makeWasmArtifact({ digest, size }, info);
    await blobs.putBytes(config);
    return { digest: (await blobs.putBytes(manifest)).digest, mediaType: OCI_MANIFEST };
  }

  /**
   * In the node's own registry, beside what clients pushed; an index with all that it names. Returns the bytes of its blobs. Throws
   * MANIFEST_BLOB_UNKNOWN where the node has not all of it.
   */
  async keep(repository: string, reference: string, root: Artifact): Promise<number> {
    const { blobs, repositories } = this.#parts;
    const bytes = await readFile((await blobs.open(root.digest)).path);
    const { config, layers, manifests } = JSON.parse(bytes.toString()) as Partial<
      Record<'config', Descriptor> & Record<'layers' | 'manifests', Descriptor[]>
    >;
    const parts = [...(config ? [config] : []), ...(layers ?? [])];
    let size = parts.reduce((sum, part) => sum + part.size, 0);
    for (const each of manifests ?? []) size += await this.keep(repository, each.digest, each);
    if (!repositories.manifest(repository, root.digest)) {
      // Layers that may not be passed on need not be here.
      for (const part of parts)
        if (await blobs.has(part.digest)) await repositories.link(repository, part.digest, part.size);
    }
    const tags = reference.includes(':') ? [] : [reference];
    await repositories.put(repository, bytes, { contentType: root.mediaType, digest: root.digest, tags });
    return size;
  }
}
