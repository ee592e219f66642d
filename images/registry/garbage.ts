/** Which manifests and blobs of a repository nothing there leads to any more. */
import { attachedTo } from '../oci/index.ts';
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
  /** Signatures and the like of an image that is gone. */
  readonly tags: readonly TaggedManifest[];
}

type Contents = Pick<Inventory, 'manifests' | 'tags'>;

/** The manifests named by these digests, those that they name, and those that are about one of them, by themselves or by their tag. */
function reachable({ manifests, tags }: Contents, roots: Iterable<string>): Set<string> {
  const byDigest = new Map(manifests.map((manifest) => [manifest.digest, manifest]));
  const about = new Map<string, string[]>();
  const isAbout = (subject: string | null, digest: string) => {
    if (subject !== null) about.set(subject, [...(about.get(subject) ?? []), digest]);
  };
  for (const { subject, digest } of manifests) isAbout(subject, digest);
  for (const { tag, digest } of tags) isAbout(attachedTo(tag), digest);
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

/** Tags that are about a manifest that is here: with it they stand and fall. */
function attachments({ manifests, tags }: Contents): Set<TaggedManifest> {
  const here = new Set(manifests.map(({ digest }) => digest));
  return new Set(tags.filter(({ tag }) => here.has(attachedTo(tag) ?? '')));
}

/** Digests of all that a tag leads to, by tag; and those that nothing else in the repository leads to. */
export function partsByTag(inventory: Contents): Map<string, { all: Set<string>; alone: Set<string> }> {
  const { manifests, tags } = inventory;
  const attached = attachments(inventory);
  const tagged = tags.map((each) => {
    const all = withBlobs(manifests, reachable(inventory, [each.digest]));
    return { tag: each.tag, all, counts: !attached.has(each) };
  });
  const led = new Map<string, number>();
  const count = (digests: Iterable<string>) => {
    for (const digest of digests) led.set(digest, (led.get(digest) ?? 0) + 1);
  };
  for (const { all, counts } of tagged) if (counts) count(all);
  const untagged = manifests.flatMap(({ digest }) => (led.has(digest) ? [] : digest));
  count(withBlobs(manifests, reachable(inventory, untagged)));
  return new Map(
    tagged.map(({ tag, all }) => [tag, { all, alone: new Set([...all].filter((digest) => led.get(digest) === 1)) }]),
  );
}

export function garbageOf(inventory: Inventory, { before, untagged, only }: CollectRules): Garbage {
  const { manifests, tags, blobs } = inventory;
  const may = (digest: string) => only === undefined || only.has(digest);
  const lasting = manifests.filter(({ pushedMs, digest }) => !untagged || pushedMs >= before || !may(digest));
  const about = tags.filter(({ tag, taggedMs }) => {
    const subject = attachedTo(tag);
    return untagged && subject !== null && taggedMs < before && may(subject);
  });
  const roots = [...tags.filter((tag) => !about.includes(tag)), ...lasting];
  const kept = reachable(
    inventory,
    roots.map(({ digest }) => digest),
  );
  const named = withBlobs(manifests, kept);
  const gone = [...blobs].filter(([digest, { linkedMs }]) => !named.has(digest) && linkedMs < before && may(digest));
  return {
    manifests: manifests.filter(({ digest }) => !kept.has(digest)),
    blobs: new Map(gone),
    tags: about.filter(({ tag }) => !kept.has(attachedTo(tag) as string)),
  };
}
