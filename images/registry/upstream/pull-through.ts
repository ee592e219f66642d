/**
 * Repositories of other registries that this one gives to holders of its tokens: what is asked for and not here is fetched
 * once, stored and served; what is here is served whether the other registry is there or not.
 */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SkerryError } from '../../../errors/skerry-error.ts';
import { applyDelta, canUseDeltas, MAX_BASES, mayDiffer } from '../../delta/index.ts';
import type { Credentials } from '../../remote/credentials.ts';
import { RemoteRepository } from '../../remote/repository.ts';
import type { Transport } from '../../remote/transport.ts';
import type { ContentStore } from '../../store/index.ts';
import { registryErrors } from '../errors.ts';
import type { NamedBlob } from '../manifest-document.ts';
import type { Repositories, StoredManifest } from '../repositories.ts';
import { BlobFetch } from './blob-fetch.ts';

export interface Upstream {
  /** Repositories `PREFIX/NAME` here are `NAME` there; empty: all of them, by their own names. */
  readonly prefix: string;
  readonly transport: Transport;
  readonly credentials: Credentials | null;
}

export interface PullThroughOptions {
  readonly upstreams: readonly Upstream[];
  readonly repositories: Repositories;
  readonly blobs: ContentStore;
  /** Throws STORE_DISK_FULL when so many bytes would take the room that the node itself needs. */
  readonly checkRoom: (bytes: number) => Promise<void>;
  readonly log: (message: string, error: unknown) => void;
}

/** An upstream has this long to say whether a tag has moved, in milliseconds; then what is here is served. */
const REVALIDATE_MS = 2000;
/** One that did not answer is not asked again for so long, where there is something to serve. */
const AWAY_MS = 15_000;
/** For a manifest that is not here. */
const MANIFEST_MS = 30_000;

interface Mapped {
  readonly upstream: Upstream;
  readonly remote: RemoteRepository;
}

export class PullThrough {
  readonly #options: PullThroughOptions;
  /** What is on its way. */
  readonly #folder: string;
  readonly #remotes = new Map<string, Mapped>();
  readonly #manifests = new Map<string, Promise<StoredManifest | null>>();
  readonly #fetches = new Map<string, BlobFetch>();
  readonly #awayUntil = new Map<Upstream, number>();
  readonly #stop = new AbortController();
  /** What nobody has asked for yet comes one by one. */
  #prefetching: Promise<void> = Promise.resolve();

  private constructor(options: PullThroughOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
  }

  static async open(options: PullThroughOptions): Promise<PullThrough> {
    const folder = join(options.blobs.folder, 'upstream');
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new PullThrough(options, folder);
  }

  /**
   * What a tag or a digest names: asked of the upstream where it is not here, or came from there by a tag that may have
   * moved. Null when there is no such thing. Throws UPSTREAM_FAILED.
   */
  async manifest(repository: string, reference: string): Promise<StoredManifest | null> {
    const { repositories } = this.#options;
    const local = repositories.manifest(repository, reference);
    const mapped = this.#mapped(repository);
    if (!mapped || (local && !repositories.isFromUpstream(repository, reference))) return local;
    const key = `${repository} ${reference}`;
    let asking = this.#manifests.get(key);
    if (!asking) {
      asking = this.#ask(mapped, repository, reference, local).finally(() => this.#manifests.delete(key));
      this.#manifests.set(key, asking);
    }
    return asking;
  }

  async #ask(
    { upstream, remote }: Mapped,
    repository: string,
    reference: string,
    local: StoredManifest | null,
  ): Promise<StoredManifest | null> {
    if (local && (this.#awayUntil.get(upstream) ?? 0) > Date.now()) return local;
    const within = (ms: number) => AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ms)]);
    try {
      if (local && (await remote.head(reference, within(REVALIDATE_MS))).digest === local.digest) return local;
      const { repositories } = this.#options;
      const { bytes, mediaType } = await remote.manifest(reference, within(MANIFEST_MS));
      const isDigest = reference.includes(':');
      const { digest } = await repositories.put(repository, bytes, {
        contentType: mediaType,
        digest: isDigest ? reference : null,
        tags: isDigest ? [] : [reference],
        fromUpstream: true,
      });
      const found = repositories.manifest(repository, digest);
      if (found) this.#prefetch(repository, found.blobs);
      return found;
    } catch (error) {
      const absent = error instanceof SkerryError && error.code === 'IMAGE_NOT_FOUND';
      if (!absent) {
        this.#awayUntil.set(upstream, Date.now() + AWAY_MS);
        this.#options.log(`${repository}: the upstream did not give ${reference}`, error);
      }
      if (local || absent) return local;
      throw upstreamError(upstream.transport.registry, error);
    }
  }

  /** Clients fetch only layers that they lack: the others are needed when the upstream is away. */
  #prefetch(repository: string, blobs: readonly string[]): void {
    for (const digest of blobs) {
      this.#prefetching = this.#prefetching.then(async () => {
        if (this.#stop.signal.aborted || this.#options.repositories.blob(repository, digest)) return;
        await (await this.blob(repository, digest))?.done;
      });
      this.#prefetching = this.#prefetching.catch((error) => {
        if (!this.#stop.signal.aborted)
          this.#options.log(`${repository}: ${digest} did not come from the upstream`, error);
      });
    }
  }

  /**
   * A blob that is not here and that a manifest from the upstream names, on its way; the same one for all who ask. Null when
   * there is no such thing, or when it is here now. Throws UPSTREAM_FAILED, STORE_DISK_FULL.
   */
  async blob(repository: string, digest: string): Promise<BlobFetch | null> {
    const mapped = this.#mapped(repository);
    if (!mapped) return null;
    const named = await this.#options.repositories.namedBlob(repository, digest);
    if (named === null) return null;
    if (await this.#isHereAndThere(mapped, repository, digest, named.size)) return null;
    const running = this.#fetches.get(digest);
    if (running) {
      running.repositories.add(repository);
      return running;
    }
    return this.#fetch(mapped, repository, named);
  }

  /** Another repository may have it: then it is enough that the upstream has it too. */
  async #isHereAndThere(
    { upstream, remote }: Mapped,
    repository: string,
    digest: string,
    size: number,
  ): Promise<boolean> {
    const { blobs, repositories } = this.#options;
    if (this.#fetches.has(digest) || !(await blobs.renew(digest))) return false;
    if (!repositories.blob(repository, digest)) {
      const there = await remote.blobSize(digest, this.#stop.signal).catch((error) => {
        throw upstreamError(upstream.transport.registry, error);
      });
      if (there !== size) return false;
      await repositories.link(repository, digest, size);
    }
    return true;
  }

  async #fetch({ upstream, remote }: Mapped, repository: string, blob: NamedBlob): Promise<BlobFetch> {
    const { blobs, repositories, checkRoom } = this.#options;
    const promised = [...this.#fetches.values()].reduce((sum, { missing }) => sum + missing, 0);
    await checkRoom(promised + blob.size);
    // Somebody else may have begun meanwhile.
    const running = this.#fetches.get(blob.digest);
    if (running) {
      running.repositories.add(repository);
      return running;
    }
    const path = join(this.#folder, randomUUID());
    const finish = async () => {
      for (const name of fetch.repositories) await repositories.link(name, blob.digest, blob.size);
    };
    const fetch: BlobFetch = new BlobFetch(
      { ...blob, registry: upstream.transport.registry },
      blobs,
      path,
      this.#source(remote, repository, blob),
      finish,
    );
    fetch.repositories.add(repository);
    this.#fetches.set(blob.digest, fetch);
    fetch.done
      .catch((error) => {
        if (!this.#stop.signal.aborted)
          this.#options.log(`${repository}: ${blob.digest} did not come from ${upstream.transport.registry}`, error);
      })
      .finally(() => this.#fetches.delete(blob.digest));
    return fetch;
  }

  /** Its bytes; what comes from a node comes as a delta from what this repository has already, where it can. */
  async *#source(remote: RemoteRepository, repository: string, blob: NamedBlob): AsyncGenerator<Uint8Array> {
    const { blobs, repositories } = this.#options;
    const { signal } = this.#stop;
    const alike = repositories.blobsLike(repository, blob).slice(0, MAX_BASES);
    const bases = alike.map(({ digest }) => digest);
    if (bases.length === 0 || !canUseDeltas() || !mayDiffer(blob)) return yield* remote.blob(blob, signal);
    const came = await remote.blobOrDelta(blob, bases, signal);
    if (!Buffer.isBuffer(came)) return yield* came;
    const made = await applyDelta(blobs, came, blob, bases).catch(() => null);
    if (made === null) return yield* remote.blob(blob, signal);
    yield* createReadStream((await blobs.open(blob.digest)).path);
  }

  /** The longest prefix decides. */
  #mapped(repository: string): Mapped | null {
    const known = this.#remotes.get(repository);
    if (known) return known;
    const fits = this.#options.upstreams.filter(({ prefix }) => prefix === '' || repository.startsWith(`${prefix}/`));
    const [upstream] = fits.sort((a, b) => b.prefix.length - a.prefix.length);
    if (!upstream) return null;
    const name = upstream.prefix === '' ? repository : repository.slice(upstream.prefix.length + 1);
    const { transport, credentials } = upstream;
    const remote = new RemoteRepository({
      transport,
      repository: name,
      image: repository,
      access: 'pull',
      credentials,
    });
    const mapped = { upstream, remote };
    if (this.#remotes.size >= MAX_REMOTES) this.#remotes.clear();
    this.#remotes.set(repository, mapped);
    return mapped;
  }

  /** Ends what is on its way. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled([...this.#fetches.values()].map(({ done }) => done));
    await this.#prefetching;
    await Promise.all(this.#options.upstreams.map(({ transport }) => transport.close()));
  }
}

/** Repositories whose bearer tokens are remembered. */
const MAX_REMOTES = 1000;

/** What is this node's own trouble stays so. @param registry the upstream */
export function upstreamError(registry: string, error: unknown): SkerryError {
  if (error instanceof SkerryError && /^(STORE_|UPSTREAM_)/.test(error.code)) return error;
  const why = error instanceof SkerryError ? error.what : 'it did not answer in time';
  return registryErrors.UPSTREAM_FAILED(registry, why).because(error);
}
