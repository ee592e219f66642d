/** The images of a node as its operator sees them: what is there, who uses it, what its removal frees. */
import type { ImageView, Pruned, RemovedImage } from '../gateway/admin/schemas.ts';
import type { ImageCatalog } from '../images/oci/index.ts';
import { formatReference, type ImageRecord, type OwnReference, parseReference } from '../images/oci/index.ts';
import { type Garbage, type Repositories, reachable, type StoredManifest } from '../images/registry/index.ts';
import { type ContentStore, isDigest } from '../images/store/index.ts';
import type { DesiredState } from '../runtime/workload/desired-state.ts';
import { daemonErrors } from './errors.ts';
import { neededDigests, type SweepSources, sweepStore } from './sweep-store.ts';

export interface ImageLibraryParts extends SweepSources {
  readonly blobs: ContentStore;
  readonly images: ImageCatalog;
  readonly repositories: Repositories;
  readonly desired: DesiredState;
  /** Removes what was unpacked of images that are gone. */
  readonly sweepLayers: () => Promise<void>;
}

/** A blob that an image is made from. */
interface Part {
  readonly size: number;
  /** When it came last, as far as the image knows; in milliseconds since 1970. */
  readonly cameMs: number;
}

type Parts = ReadonlyMap<string, Part>;

export class ImageLibrary {
  readonly #parts: ImageLibraryParts;

  constructor(parts: ImageLibraryParts) {
    this.#parts = parts;
  }

  /** By name: what was pushed, then what came from other registries, then what was sent and is deployed. */
  list(): ImageView[] {
    const { repositories, images } = this.#parts;
    const users = this.#users();
    const pushed = repositories.tags().flatMap(({ repository, tag, digest, taggedMs }): ImageView[] => {
      const manifests = repositories.manifests(repository);
      const found = manifests.find((manifest) => manifest.digest === digest);
      if (!found) return [];
      const closure = reachable(manifests, [digest]);
      return [
        {
          name: `${repository}:${tag}`,
          origin: 'pushed',
          digest,
          mediaType: found.mediaType,
          createdAt: new Date(taggedMs).toISOString(),
          size: sum(this.#partsOf(repository, manifests, closure)),
          usedBy: usersOf(users, closure),
          frees: this.#freed(repository, this.#garbageWithout(repository, digest, tag)),
        },
      ];
    });
    const others = images
      .list(() => {})
      .map(({ name, image }): ImageView => {
        const byDigest = name === image.manifest.digest;
        const needed = neededDigests(this.#parts, { image: name });
        return {
          name,
          origin: byDigest ? 'deployed' : 'pulled',
          digest: image.root,
          mediaType: image.manifest.mediaType,
          createdAt: new Date(image.importedMs).toISOString(),
          size: sum(recordParts(image)),
          usedBy: usersOf(users, [image.manifest.digest]),
          frees: needed ? sum(without(recordParts(image), needed)) : 0,
        };
      });
    return [...pushed, ...others.filter(({ origin }) => origin === 'pulled'), ...this.#onlyDeployed(pushed, others)];
  }

  /** Records by digest of which no name tells. */
  #onlyDeployed(pushed: readonly ImageView[], others: readonly ImageView[]): ImageView[] {
    const { repositories } = this.#parts;
    const told = new Set(others.flatMap(({ origin, digest }) => (origin === 'pulled' ? digest : [])));
    for (const { name } of pushed) {
      const repository = name.slice(0, name.indexOf(':'));
      for (const { digest } of repositories.manifests(repository)) told.add(digest);
    }
    return others.filter(({ origin, name, digest }) => origin === 'deployed' && !told.has(name) && !told.has(digest));
  }

  /**
   * Takes a name away, and frees what nothing else needs. What is deployed stays, whatever it was called. Throws
   * REFERENCE_INVALID, IMAGE_NOT_HERE, IMAGE_IN_USE.
   */
  async remove(reference: string): Promise<RemovedImage> {
    if (isDigest(reference)) return this.#removeRecord(reference, reference);
    const named = parseReference(reference);
    if (named.kind === 'own') return this.#removePushed(reference, named);
    if (named.kind !== 'registry') throw daemonErrors.IMAGE_NOT_HERE(reference);
    return this.#removeRecord(formatReference(named), reference);
  }

  async #removeRecord(name: string, reference: string): Promise<RemovedImage> {
    const { images } = this.#parts;
    const image = images.get(name);
    if (!image) throw daemonErrors.IMAGE_NOT_HERE(reference);
    const usedBy = usersOf(this.#users(), [image.manifest.digest]);
    if (isDigest(name) && usedBy.length > 0) throw daemonErrors.IMAGE_IN_USE(name, usedBy);
    await images.delete(name);
    return { name, usedBy, bytes: await this.#free(recordParts(image)) };
  }

  async #removePushed(reference: string, named: OwnReference): Promise<RemovedImage> {
    const { repositories } = this.#parts;
    const { repository, tag, digest } = named;
    const found = repositories.manifest(repository, digest ?? (tag as string));
    if (!found) throw daemonErrors.IMAGE_NOT_HERE(reference);
    const manifests = repositories.manifests(repository);
    const closure = reachable(manifests, [found.digest]);
    const parts = this.#partsOf(repository, manifests, closure);
    if (digest === null) await repositories.untag(repository, tag as string);
    else await repositories.remove(repository, digest);
    const only = new Set(parts.keys());
    const { manifests: gone, blobs } = await repositories.collect(repository, {
      before: Number.POSITIVE_INFINITY,
      untagged: true,
      only,
    });
    const lost = new Set([...gone.map((manifest) => manifest.digest), ...blobs.keys(), ...(digest ? [digest] : [])]);
    const bytes = await this.#free(new Map([...parts].filter(([part]) => lost.has(part))));
    return { name: formatReference(named), usedBy: usersOf(this.#users(), closure), bytes };
  }

  /** Removes what no name leads to: untagged manifests, blobs of given up pushes, what workloads left behind. */
  async prune(dryRun: boolean): Promise<Pruned> {
    const swept = await sweepStore(this.#parts, { untagged: true, dryRun });
    if (!dryRun) await this.#parts.sweepLayers();
    return { ...swept, dryRun };
  }

  #partsOf(repository: string, manifests: readonly StoredManifest[], closure: ReadonlySet<string>): Parts {
    const parts = new Map<string, Part>();
    for (const { digest, size, pushedMs, blobs } of manifests) {
      if (!closure.has(digest)) continue;
      parts.set(digest, { size, cameMs: pushedMs });
      for (const blob of blobs) {
        const record = this.#parts.repositories.blob(repository, blob);
        if (record) parts.set(blob, { size: record.size, cameMs: record.linkedMs });
      }
    }
    return parts;
  }

  #garbageWithout(repository: string, digest: string, tag: string): Garbage {
    const { repositories } = this.#parts;
    const manifests = repositories.manifests(repository);
    const only = new Set(this.#partsOf(repository, manifests, reachable(manifests, [digest])).keys());
    return repositories.garbage(repository, { before: Number.POSITIVE_INFINITY, untagged: true, only }, tag);
  }

  #freed(repository: string, garbage: Garbage): number {
    const needed = neededDigests(this.#parts, { garbage: new Map([[repository, garbage]]) });
    if (!needed) return 0;
    const { manifests, blobs } = garbage;
    const all = [...manifests.map(({ digest, size }) => [digest, size] as const), ...sizes(blobs)];
    return all.reduce((total, [digest, size]) => total + (needed.has(digest) ? 0 : size), 0);
  }

  /** Returns the bytes. What was put again since it came may be about to be deployed: the next sweep looks at it. */
  async #free(parts: Parts): Promise<number> {
    const { blobs, sweepLayers } = this.#parts;
    const needed = neededDigests(this.#parts);
    let bytes = 0;
    if (!needed) return bytes;
    for (const [digest, { size, cameMs }] of without(parts, needed))
      if (await blobs.delete(digest, { putBefore: cameMs + 1 })) bytes += size;
    await sweepLayers();
    return bytes;
  }

  #users(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.#parts.desired.artifactUsers(() => {});
  }
}

function usersOf(users: ReadonlyMap<string, ReadonlySet<string>>, digests: Iterable<string>): string[] {
  return [...new Set([...digests].flatMap((digest) => [...(users.get(digest) ?? [])]))].sort();
}

function recordParts({ manifest, config, layers, importedMs }: ImageRecord): Parts {
  return new Map([manifest, config, ...layers].map(({ digest, size }) => [digest, { size, cameMs: importedMs }]));
}

function without(parts: Parts, needed: ReadonlySet<string>): Parts {
  return new Map([...parts].filter(([digest]) => !needed.has(digest)));
}

function sizes(blobs: Garbage['blobs']): (readonly [string, number])[] {
  return [...blobs].map(([digest, { size }]) => [digest, size] as const);
}

function sum(parts: Parts): number {
  return [...parts.values()].reduce((total, { size }) => total + size, 0);
}
