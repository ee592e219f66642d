import type { ImageCatalog } from '../images/oci/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import type { DesiredState } from '../runtime/workload/desired-state.ts';
import type { BuildService } from './build-service.ts';

/** An upload has this long to be deployed before it may be removed, in milliseconds. */
const MIN_AGE_MS = 3_600_000;

/**
 * Removes blobs that no kept revision and no image is made from, nor are the source map of one, except young ones: they
 * may be about to be deployed.
 */
export async function sweepStore(
  blobs: ContentStore,
  desired: Pick<DesiredState, 'artifacts'>,
  builds: Pick<BuildService, 'sourceMaps'>,
  images: Pick<ImageCatalog, 'blobs' | 'list' | 'delete'>,
): Promise<void> {
  let readable = true;
  const unreadable = () => {
    readable = false;
  };
  const kept = desired.artifacts(unreadable);
  const listed = images.list(unreadable);
  // A revision or an image that cannot be read may be made from any of them.
  if (!readable) return;
  const before = Date.now() - MIN_AGE_MS;
  for (const { name, image } of listed) {
    // A record by digest alone is there for what is deployed of it.
    const wanted = name !== image.manifest.digest || kept.has(name) || image.importedMs >= before;
    if (!wanted) await images.delete(name);
  }
  for (const digest of images.blobs(unreadable)) kept.add(digest);
  for (const digest of builds.sourceMaps(kept)) kept.add(digest);
  for (const blob of await blobs.list()) {
    // `putBefore`: it may have been put again, for a deploy, since it was listed.
    if (!kept.has(blob.digest) && blob.modifiedMs < before) await blobs.delete(blob.digest, { putBefore: before });
  }
}
