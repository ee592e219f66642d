/** Which manifests and blobs of a repository nothing there leads to any more. */
import type { BlobRecord, StoredManifest } from './repositories.ts';

export interface CollectRules {
  /** Nothing that came at this time or later goes: it may belong to a push under way. In milliseconds since 1970. */
  readonly before: number;
  /** Also manifests that have no tag; otherwise they stay, to be pulled by digest. */
  readonly untagged: boolean;
  /** Nothing but these digests. */
  readonly only?: ReadonlySet<string>;
}

export interface Garbage {
  readonly manifests: readonly StoredManifest[];
  /** Digest → what the repository has of it. */
  readonly blobs: ReadonlyMap<string, BlobRecord>;
}

/** The manifests named by these digests, those that they name, and those that are about one of them. */
export function reachable(manifests: readonly StoredManifest[], roots: Iterable<string>): Set<string> {
  const byDigest = new Map(manifests.map((manifest) => [manifest.digest, manifest]));
  const found = new Set<string>();
  const queue = [...roots];
  for (let digest = queue.pop(); digest !== undefined; digest = queue.pop()) {
    const manifest = byDigest.get(digest);
    if (!manifest || found.has(digest)) continue;
    found.add(digest);
    queue.push(
      ...manifest.manifests,
      ...manifests.filter(({ subject }) => subject === digest).map((each) => each.digest),
    );
  }
  return found;
}

export function garbageOf(
  manifests: readonly StoredManifest[],
  tagged: Iterable<string>,
  blobs: ReadonlyMap<string, BlobRecord>,
  { before, untagged, only }: CollectRules,
): Garbage {
  const may = (digest: string) => only === undefined || only.has(digest);
  const lasting = manifests.filter(({ pushedMs, digest }) => !untagged || pushedMs >= before || !may(digest));
  const kept = reachable(manifests, [...tagged, ...lasting.map(({ digest }) => digest)]);
  const named = new Set(manifests.flatMap((manifest) => (kept.has(manifest.digest) ? manifest.blobs : [])));
  const gone = [...blobs].filter(([digest, { linkedMs }]) => !named.has(digest) && linkedMs < before && may(digest));
  return { manifests: manifests.filter(({ digest }) => !kept.has(digest)), blobs: new Map(gone) };
}
