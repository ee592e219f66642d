/** Which blobs of this node may have much in common with one that comes or goes: what a delta can be made from. */
import { MAX_BASES } from '../images/delta/index.ts';
import { COMPONENT, type Descriptor, type ImageCatalog, type NamedReference } from '../images/oci/index.ts';
import type { Repositories } from '../images/registry/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import type { DesiredState } from '../runtime/workload/desired-state.ts';

export interface DeltaSources {
  readonly blobs: ContentStore;
  readonly catalog: Pick<ImageCatalog, 'list'>;
  readonly repositories: Pick<Repositories, 'blobsLike'>;
  readonly desired: Pick<DesiredState, 'keptRevisions'>;
}

interface Candidate {
  readonly digest: string;
  /** When it came, in milliseconds since 1970. */
  readonly cameMs: number;
}

/** Digests of blobs that are here, the most promising first. Components of any name have an engine in common. */
export async function deltaBases(
  { blobs, catalog, repositories, desired }: DeltaSources,
  named: NamedReference,
  { digest, mediaType, size }: Descriptor,
): Promise<string[]> {
  const records = catalog.list(() => {}).map(({ name, image }) => ({ name, image, cameMs: image.importedMs }));
  const layersOf = (some: typeof records): Candidate[] =>
    some.flatMap(({ image, cameMs }) =>
      image.layers.flatMap((layer) => (layer.mediaType === mediaType ? { digest: layer.digest, cameMs } : [])),
    );
  const prefix = `${named.registry}/${named.repository}`;
  const isSame = ({ name }: { name: string }) => name.startsWith(`${prefix}:`) || name.startsWith(`${prefix}@`);
  const groups: Candidate[][] = [layersOf(records.filter(isSame))];
  const pushed = repositories.blobsLike(named.repository, { digest, size });
  groups.push(pushed.map((blob) => ({ digest: blob.digest, cameMs: blob.linkedMs })));
  if (mediaType === COMPONENT) {
    const workload = named.repository.slice(named.repository.lastIndexOf('/') + 1);
    const components = desired.keptRevisions(() => {}).filter(({ artifact }) => artifact.mediaType === COMPONENT);
    const revisions = components.map((each) => ({
      workload: each.workload,
      digest: each.artifact.digest,
      cameMs: Date.parse(each.createdAt),
    }));
    groups.push(revisions.filter((each) => each.workload === workload));
    groups.push(revisions.filter((each) => each.workload !== workload));
    groups.push(layersOf(records.filter((each) => !isSame(each))));
  }
  const ordered = groups.flatMap((group) => group.sort((a, b) => b.cameMs - a.cameMs).map((each) => each.digest));
  const bases: string[] = [];
  for (const each of new Set(ordered)) {
    if (bases.length >= MAX_BASES) break;
    if (each !== digest && (await blobs.has(each))) bases.push(each);
  }
  return bases;
}
