/** The images of a node as its operator sees them: what is there, who uses it, what its removal frees. */
import type { ImageView, Pruned, RemovedImage, StoreView } from '../gateway/admin/schemas.ts';
import {
  artifactOf,
  attachedTo,
  formatReference,
  type ImageCatalog,
  type ImageRecord,
  type NamedImage,
  type OwnReference,
  parseReference,
} from '../images/oci/index.ts';
import { type Inventory, partsByTag, type Repositories } from '../images/registry/index.ts';
import { type ContentStore, isDigest } from '../images/store/index.ts';
import type { DesiredState } from '../runtime/workload/desired-state.ts';
import { daemonErrors } from './errors.ts';
import { isWanted, neededDigests, type SweepSources, sweepStore } from './sweep-store.ts';

export interface ImageLibraryParts extends SweepSources {
  readonly blobs: ContentStore;
  readonly images: ImageCatalog;
  readonly repositories: Repositories;
  readonly desired: DesiredState;
  /** Removes what was unpacked of images that are gone. */
  readonly sweepLayers: () => Promise<void>;
  /** Bounds what builds keep for the next ones. Returns the bytes that it freed. */
  readonly pruneBuilds: () => Promise<number>;
}

/** A blob or a manifest that an image is made from. */
interface Part {
  readonly size: number;
  /** When it came last, as far as the image knows; in milliseconds since 1970. */
  readonly cameMs: number;
}

type Parts = ReadonlyMap<string, Part>;
/** Names of workloads by the digest of what they are made from. */
type Users = ReadonlyMap<string, ReadonlySet<string>>;

export class ImageLibrary {
  readonly #parts: ImageLibraryParts;

  constructor(parts: ImageLibraryParts) {
    this.#parts = parts;
  }

  /** What the content store has, and may have. */
  store(): StoreView {
    const { used, limit } = this.#parts.blobs.space;
    return { bytes: used, limit };
  }

  /** By name: what was pushed, then what came from other registries, then what was sent and is deployed. */
  list(): ImageView[] {
    const users = this.#users();
    const inventories = this.#inventories();
    const deployed = new Set(users.keys());
    const records = this.#parts.images.list(() => {}).filter(({ name, image }) => isWanted(name, image, deployed));
    const keepers = countKeepers(inventories, records, deployed);
    const pushed = [...inventories].flatMap(([repository, inventory]) =>
      pushedViews(repository, inventory, users, keepers),
    );
    const known = new Set([...inventories.values()].flatMap(({ manifests }) => manifests.map(({ digest }) => digest)));
    const pulled = records.filter(({ name, image }) => name !== image.manifest.digest);
    for (const { image } of pulled) known.add(image.manifest.digest);
    // Records by digest of which no name tells.
    const sent = records.filter(({ name, image }) => name === image.manifest.digest && !known.has(name));
    return [
      ...pushed,
      ...pulled.map((each) => recordView(each, 'pulled', users, keepers)),
      ...sent.map((each) => recordView(each, 'deployed', users, keepers)),
    ];
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
    const usedBy = usersOf(this.#users(), [artifactOf(image).digest]);
    if (isDigest(name) && usedBy.length > 0) throw daemonErrors.IMAGE_IN_USE(name, usedBy);
    await images.delete(name);
    return { name, usedBy, ...(await this.#free(recordParts(image))) };
  }

  async #removePushed(reference: string, named: OwnReference): Promise<RemovedImage> {
    const { repositories } = this.#parts;
    const { repository, tag, digest } = named;
    const found = repositories.manifest(repository, digest ?? (tag as string));
    if (!found) throw daemonErrors.IMAGE_NOT_HERE(reference);
    const inventory = repositories.inventory(repository);
    // As if it had a tag, also when it is named by its digest.
    const root = { repository, tag: '', digest: found.digest, taggedMs: 0 };
    const { all } = partsByTag({ ...inventory, tags: [...inventory.tags, root] }).get('')!;
    if (digest === null) await repositories.untag(repository, tag as string);
    else await repositories.remove(repository, digest);
    await repositories.collect(repository, { before: Number.POSITIVE_INFINITY, untagged: true, only: all });
    const freed = await this.#free(partsOf(inventory, all));
    return { name: formatReference(named), usedBy: usersOf(this.#users(), all), ...freed };
  }

  /** Removes what no name leads to: untagged manifests, blobs of given up pushes, what workloads left behind. */
  async prune(dryRun: boolean): Promise<Pruned> {
    const swept = await sweepStore(this.#parts, { untagged: true, dryRun });
    if (dryRun) return { ...swept, dryRun, store: this.store(), buildBytes: 0 };
    await this.#parts.sweepLayers();
    return { ...swept, dryRun, store: this.store(), buildBytes: await this.#parts.pruneBuilds() };
  }

  /** What was brought, or put again, lately may be about to be deployed: the next sweep looks at it. */
  async #free(parts: Parts): Promise<Pick<RemovedImage, 'bytes' | 'youngBytes'>> {
    const { blobs, sweepLayers } = this.#parts;
    const needed = neededDigests(this.#parts);
    const lasting = neededDigests(this.#parts, { young: false });
    const freed = { bytes: 0, youngBytes: 0 };
    if (!needed || !lasting) return freed;
    for (const [digest, { size, cameMs }] of parts) {
      if (lasting.has(digest)) continue;
      const gone = !needed.has(digest) && (await blobs.delete(digest, { putBefore: cameMs + 1 }));
      freed[gone ? 'bytes' : 'youngBytes'] += size;
    }
    await sweepLayers();
    return freed;
  }

  #inventories(): Map<string, Inventory> {
    const { repositories } = this.#parts;
    return new Map(repositories.allNames().map((name) => [name, repositories.inventory(name)]));
  }

  #users(): Users {
    return this.#parts.desired.artifactUsers(() => {});
  }
}

/** How many repositories, records and revisions keep each digest. */
function countKeepers(
  inventories: ReadonlyMap<string, Inventory>,
  records: readonly NamedImage[],
  deployed: ReadonlySet<string>,
): Map<string, number> {
  const keepers = new Map<string, number>();
  const count = (digests: Iterable<string>) => {
    for (const digest of digests) keepers.set(digest, (keepers.get(digest) ?? 0) + 1);
  };
  for (const { manifests, blobs } of inventories.values())
    count(new Set([...manifests.map(({ digest }) => digest), ...blobs.keys()]));
  for (const { image } of records) count(recordParts(image).keys());
  count(deployed);
  return keepers;
}

function pushedViews(
  repository: string,
  inventory: Inventory,
  users: Users,
  keepers: ReadonlyMap<string, number>,
): ImageView[] {
  const byTag = partsByTag(inventory);
  const mediaTypes = new Map(inventory.manifests.map(({ digest, mediaType }) => [digest, mediaType]));
  return inventory.tags.map(({ tag, digest, taggedMs }): ImageView => {
    const { all, alone } = byTag.get(tag)!;
    return {
      name: `${repository}:${tag}`,
      origin: 'pushed',
      digest,
      mediaType: mediaTypes.get(digest) ?? '',
      createdAt: new Date(taggedMs).toISOString(),
      size: sum(partsOf(inventory, all)),
      usedBy: usersOf(users, all),
      frees: sum(partsOf(inventory, new Set([...alone].filter((part) => keepers.get(part) === 1)))),
      attachedTo: attachedTo(tag),
    };
  });
}

function recordView(
  { name, image }: NamedImage,
  origin: 'pulled' | 'deployed',
  users: Users,
  keepers: ReadonlyMap<string, number>,
): ImageView {
  const parts = recordParts(image);
  return {
    name,
    origin,
    digest: image.root,
    mediaType: image.manifest.mediaType,
    createdAt: new Date(image.importedMs).toISOString(),
    size: sum(parts),
    usedBy: usersOf(users, [artifactOf(image).digest]),
    frees: sum(new Map([...parts].filter(([digest]) => keepers.get(digest) === 1))),
    attachedTo: null,
  };
}

/** What the repository has of these. */
function partsOf({ manifests, blobs }: Inventory, digests: ReadonlySet<string>): Parts {
  const parts = new Map<string, Part>();
  for (const digest of digests) {
    const blob = blobs.get(digest);
    if (blob) parts.set(digest, { size: blob.size, cameMs: blob.linkedMs });
  }
  for (const { digest, size, pushedMs } of manifests)
    if (digests.has(digest)) parts.set(digest, { size, cameMs: pushedMs });
  return parts;
}

function recordParts({ manifest, config, layers, importedMs }: ImageRecord): Parts {
  return new Map([manifest, config, ...layers].map(({ digest, size }) => [digest, { size, cameMs: importedMs }]));
}

function usersOf(users: Users, digests: Iterable<string>): string[] {
  return [...new Set([...digests].flatMap((digest) => [...(users.get(digest) ?? [])]))].sort();
}

function sum(parts: Parts): number {
  return [...parts.values()].reduce((total, { size }) => total + size, 0);
}
