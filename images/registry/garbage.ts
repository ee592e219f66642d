/** Which manifests and blobs of a repository nothing there leads to any more. */
import type { BlobRecord, StoredManifest, TaggedManifest } from './repositories.ts';

/** What a repository has. */
export interface Inventory {
  readonly manifests: readonly StoredManifest[];
  readonly tags: readonly TaggedManifest[];
  /** By digest. */
  readonly blobs: ReadonlyMap<string, BlobRecord>;
}

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
  const about = new Map<string, string[]>();
  for (const { subject, digest } of manifests)
    if (subject !== null) about.set(subject, [...(about.get(subject) ?? []), digest]);
  const found = new Set<string>();
  const queue = [...roots];
  for (let digest = queue.pop(); digest !== undefined; digest = queue.pop()) {
    const manifest = byDigest.get(digest);
    if (!manifest || found.has(digest)) continue;
    found.add(digest);
    queue.push(...manifest.manifests, ...(about.get(digest) ?? []));
  }
  return found;
}

/** Digests of these manifests and of the blobs that they name. */
function withBlobs(manifests: readonly StoredManifest[], digests: ReadonlySet<string>): Set<string> {
  const all = new Set(digests);
  for (const { digest, blobs } of manifests) if (digests.has(digest)) for (const blob of blobs) all.add(blob);
  return all;
}

/** Digests of all that a tag leads to, by tag; and those that nothing else in the repository leads to. */
export function partsByTag({ manifests, tags }: Inventory): Map<string, { all: Set<string>; alone: Set<string> }> {
  const tagged = tags.map(({ tag, digest }) => ({ tag, all: withBlobs(manifests, reachable(manifests, [digest])) }));
  const led = new Map<string, number>();
  const count = (digests: Iterable<string>) => {
    for (const digest of digests) led.set(digest, (led.get(digest) ?? 0) + 1);
  };
  for (const { all } of tagged) count(all);
  const untagged = manifests.flatMap(({ digest }) => (led.has(digest) ? [] : digest));
  count(withBlobs(manifests, reachable(manifests, untagged)));
  return new Map(
    tagged.map(({ tag, all }) => [tag, { all, alone: new Set([...all].filter((digest) => led.get(digest) === 1)) }]),
  );
}

export function garbageOf({ manifests, tags, blobs }: Inventory, { before, untagged, only }: CollectRules): Garbage {
  const may = (digest: string) => only === undefined || only.has(digest);
  const lasting = manifests.filter(({ pushedMs, digest }) => !untagged || pushedMs >= before || !may(digest));
  const kept = reachable(
    manifests,
    [...tags, ...lasting].map(({ digest }) => digest),
  );
  const named = withBlobs(manifests, kept);
  const gone = [...blobs].filter(([digest, { linkedMs }]) => !named.has(digest) && linkedMs < before && may(digest));
  return { manifests: manifests.filter(({ digest }) => !kept.has(digest)), blobs: new Map(gone) };
}
