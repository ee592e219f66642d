/** Makes room in the content store where it has come to its bound: what nobody uses goes, the oldest first. */
import { artifactOf } from '../images/oci/index.ts';
import type { Repositories } from '../images/registry/index.ts';
import type { StoreSpace } from '../images/store/index.ts';
import { MIN_AGE_MS, type SweepSources, sweepStore } from './sweep-store.ts';

export interface EvictSources extends SweepSources {
  readonly repositories: SweepSources['repositories'] &
    Pick<Repositories, 'tags' | 'isFromUpstream' | 'untag' | 'manifest'>;
}

interface Name {
  readonly cameMs: number;
  remove(): Promise<unknown>;
}

/**
 * First what no name leads to; then names of what is elsewhere too: images that were pulled or fetched from an upstream, and
 * that nothing runs. What was pushed here under a tag stays, since this may be the only copy; so does what is younger than the age.
 */
export async function evict(sources: EvictSources, space: Pick<StoreSpace, 'fits'>, bytes: number): Promise<void> {
  await sweepStore(sources, { untagged: true });
  for (const name of elsewhere(sources).sort((a, b) => a.cameMs - b.cameMs)) {
    if (space.fits(bytes)) return;
    await name.remove();
    await sweepStore(sources, { untagged: true });
  }
}

/** Names of what can be had again, and is not used. */
function elsewhere({ desired, images, repositories }: EvictSources): Name[] {
  const deployed = desired.artifacts(() => {});
  const before = Date.now() - MIN_AGE_MS;
  const pulled = images
    .list(() => {})
    .filter(({ name, image }) => name !== image.manifest.digest && !deployed.has(artifactOf(image).digest))
    .map(({ name, image }): Name => ({ cameMs: image.importedMs, remove: () => images.delete(name) }));
  const fetched = repositories
    .tags(undefined, () => {})
    .filter(({ repository, tag }) => repositories.isFromUpstream(repository, tag))
    .filter(({ repository, digest }) => {
      const blobs = repositories.manifest(repository, digest)?.blobs ?? [];
      return ![digest, ...blobs].some((each) => deployed.has(each));
    })
    .map(({ repository, tag, taggedMs }): Name => {
      return { cameMs: taggedMs, remove: () => repositories.untag(repository, tag) };
    });
  return [...pulled, ...fetched].filter(({ cameMs }) => cameMs < before);
}
