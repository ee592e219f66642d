/** What of the content store is needed, and the removal of the rest. */
import type { ImageCatalog, ImageRecord } from '../images/oci/index.ts';
import type { Garbage, Repositories } from '../images/registry/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import type { DesiredState } from '../runtime/workload/desired-state.ts';
import type { BuildService } from './build-service.ts';

/** An upload has this long to be deployed, or to be named by a manifest, before it may be removed; in milliseconds. */
export const MIN_AGE_MS = 3_600_000;

export interface SweepSources {
  readonly blobs: Pick<ContentStore, 'list' | 'delete'>;
  readonly desired: Pick<DesiredState, 'artifacts'>;
  readonly builds: Pick<BuildService, 'sourceMaps'>;
  readonly images: Pick<ImageCatalog, 'list' | 'delete'>;
  readonly repositories: Pick<Repositories, 'digests' | 'allNames' | 'garbage' | 'collect'>;
}

/**
 * Digests of what kept revisions and images are made from, of the source maps of these, and of what the repositories have;
 * null when a record cannot be read: it may need any of them.
 * @param without what is taken for gone, by repository @param young also what may be about to be deployed
 */
export function neededDigests(
  sources: Omit<SweepSources, 'blobs'>,
  { without, young = true }: { without?: ReadonlyMap<string, Garbage>; young?: boolean } = {},
): Set<string> | null {
  const { desired, builds, images, repositories } = sources;
  let readable = true;
  const unreadable = () => {
    readable = false;
  };
  const deployed = desired.artifacts(unreadable);
  const needed = new Set(deployed);
  for (const { name, image } of images.list(unreadable)) {
    if (!isWanted(name, image, deployed, young)) continue;
    for (const { digest } of [image.manifest, image.config, ...image.layers]) needed.add(digest);
  }
  for (const digest of repositories.digests(unreadable, without)) needed.add(digest);
  for (const digest of builds.sourceMaps(needed)) needed.add(digest);
  return readable ? needed : null;
}

/** A record by digest alone is there for what is deployed of it, or about to be. */
export function isWanted(name: string, image: ImageRecord, deployed: ReadonlySet<string>, young = true): boolean {
  const isYoung = image.importedMs >= Date.now() - MIN_AGE_MS;
  return name !== image.manifest.digest || deployed.has(name) || (young && isYoung);
}

export interface Swept {
  readonly blobs: number;
  readonly bytes: number;
  /** Of what is not needed either, and is too young: it may be about to be deployed, or belong to a push. */
  readonly youngBytes: number;
}

const NOTHING: Swept = { blobs: 0, bytes: 0, youngBytes: 0 };

/** @param untagged also manifests that have no tag @param dryRun only tells what it would remove */
export async function sweepStore(
  sources: SweepSources,
  { untagged = false, dryRun = false }: { untagged?: boolean; dryRun?: boolean } = {},
): Promise<Swept> {
  const { blobs, desired, images, repositories } = sources;
  if (!neededDigests(sources)) return NOTHING;
  const before = Date.now() - MIN_AGE_MS;
  const garbage = new Map<string, Garbage>();
  for (const name of repositories.allNames()) {
    const rules = { before, untagged };
    garbage.set(name, dryRun ? repositories.garbage(name, rules) : await repositories.collect(name, rules));
  }
  const needed = neededDigests(sources, { without: garbage });
  const lasting = neededDigests(sources, { without: garbage, young: false });
  if (!needed || !lasting) return NOTHING;
  const deployed = desired.artifacts(() => {});
  for (const { name, image } of images.list()) {
    if (!dryRun && !isWanted(name, image, deployed)) await images.delete(name);
  }
  const swept = { blobs: 0, bytes: 0, youngBytes: 0 };
  for (const { digest, size, modifiedMs } of await blobs.list()) {
    if (lasting.has(digest)) continue;
    if (needed.has(digest) || modifiedMs >= before) {
      swept.youngBytes += size;
      continue;
    }
    // `putBefore`: it may have been put again, for a deploy, since it was listed.
    if (!dryRun && !(await blobs.delete(digest, { putBefore: before }))) continue;
    swept.blobs++;
    swept.bytes += size;
  }
  return swept;
}
