import type { ImageCatalog } from '../images/oci/index.ts';
import type { Repositories } from '../images/registry/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import type { DesiredState } from '../runtime/workload/desired-state.ts';
import type { BuildService } from './build-service.ts';

/** An upload has this long to be deployed before it may be removed, in milliseconds. */
const MIN_AGE_MS = 3_600_000;

/**
 * Removes blobs that no kept revision and no image is made from, that no repository of the registry has, and that are no
 * source map of one, except young ones: they may be about to be deployed, or pushed.
 */
export async function sweepStore(
  blobs: ContentStore,
  desired: Pick<DesiredState, 'artifacts'>,
  builds: Pick<BuildService, 'sourceMaps'>,
  images: Pick<ImageCatalog, 'blobs' | 'list' | 'delete'>,
  repositories: Pick<Repositories, 'digests'>,
): Promise<void> {
  let readable = true;
  const unreadable = () => {
    readable = false;
  };
  const kept = desired.artifacts(unreadable);
  const listed = images.list(unreadable);
  const pushed = repositories.digests(unreadable);
  // What cannot be read may need any of them.
  if (!readable) return;
  const before = Date.now() - MIN_AGE_MS;
  for (const { name, image } of listed) {
    // A record by digest alone is there for what is deployed of it.
    const wanted = name !== image.manifest.digest || kept.has(name) || image.importedMs >= before;
    if (!wanted) await images.delete(name);
  }
  for (const digest of images.blobs(unreadable)) kept.add(digest);
  for (const digest of pushed) kept.add(digest);
  for (const digest of builds.sourceMaps(kept)) kept.add(digest);
  for (const blob of await blobs.list()) {
    // `putBefore`: it may have been put again, for a deploy, since it was listed.
    if (!kept.has(blob.digest) && blob.modifiedMs < before) await blobs.delete(blob.digest, { putBefore: before });
  }
}
