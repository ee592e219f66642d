/**
 * The repositories of the node: which blobs and manifests each of them has, and what its tags name. Small documents in
 * the node's store of documents; the bytes are in the content store, which all repositories share.
 */
import { readFile } from 'node:fs/promises';
import { SkerryError } from '../../errors/skerry-error.ts';
import type { RecordStore, RecordWrite } from '../oci/index.ts';
import type { ContentStore } from '../store/index.ts';
import { registryErrors } from './errors.ts';
import { type CollectRules, type Garbage, garbageOf, type Inventory } from './garbage.ts';
import { type ManifestDocument, type NamedBlob, namedBlob, parseManifest } from './manifest-document.ts';

export interface ManifestRecord {
  readonly mediaType: string;
  /** In bytes. */
  readonly size: number;
  /** Digests of the blobs and the manifests that it names, and that were there when it was pushed. */
  readonly blobs: readonly string[];
  readonly manifests: readonly string[];
  readonly subject: string | null;
  readonly artifactType: string | null;
  /** In milliseconds since 1970. */
  readonly pushedMs: number;
}

export interface StoredManifest extends ManifestRecord {
  readonly digest: string;
}

export interface BlobRecord {
  /** In bytes. */
  readonly size: number;
  /** When the repository got it, in milliseconds since 1970. */
  readonly linkedMs: number;
}

interface TagRecord {
  readonly digest: string;
  /** In milliseconds since 1970. */
  readonly taggedMs: number;
  /** It is an upstream's tag, which may move there. */
  readonly fromUpstream?: true;
}

interface PutManifest {
  /** What its sender calls it. */
  readonly contentType: string;
  /** What it must have; null: its own, of sha256. */
  readonly digest: string | null;
  readonly tags: readonly string[];
  /** What it names may come later. */
  readonly fromUpstream?: boolean;
}

export interface TaggedManifest {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
  readonly taggedMs: number;
}

/** A descriptor as referrers are listed. */
export interface Referrer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

// Neither `@` nor `:` can be in the name of a repository.
const BLOBS = 'repository/blob/';
const MANIFESTS = 'repository/manifest/';
const TAGS = 'repository/tag/';

const blobKey = (repository: string, digest: string) => `${BLOBS}${repository}@${digest}`;
const manifestKey = (repository: string, digest: string) => `${MANIFESTS}${repository}@${digest}`;
const tagKey = (repository: string, tag: string) => `${TAGS}${repository}:${tag}`;

/** Blobs that were wanted, remembered in memory: those of some hundred pushes. */
const MAX_WANTED = 10_000;

/** Of blobs that are about as long as each other. */
const SIZE_RATIO = 4;

type OnUnreadable = (key: string, error: SkerryError) => void;
const skip: OnUnreadable = () => {};

export class Repositories {
  readonly #records: RecordStore;
  readonly #blobs: ContentStore;
  /** When blobs were wanted last, by key, the oldest first; in milliseconds since 1970. */
  readonly #wanted = new Map<string, number>();
  /** One change at a time of what depends on other documents: each begins with what is there. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(records: RecordStore, blobs: ContentStore) {
    this.#records = records;
    this.#blobs = blobs;
  }

  /** Their names in order: of those that have a manifest. */
  names(): string[] {
    return namesIn(this.#records.list(MANIFESTS, skip), MANIFESTS);
  }

  /** Also of those that have nothing but blobs. */
  allNames(): string[] {
    const names = [...this.names(), ...namesIn(this.#records.list(BLOBS, skip), BLOBS)];
    return [...new Set(names)].sort();
  }

  has(repository: string): boolean {
    return [`${MANIFESTS}${repository}@`, `${BLOBS}${repository}@`].some(
      (prefix) => this.#records.list(prefix, skip).length > 0,
    );
  }

  /**
   * `wanted`: somebody asks whether it is there, and may be about to name it in a manifest without sending it: for a while
   * it counts as linked now.
   */
  blob(repository: string, digest: string, { wanted = false } = {}): BlobRecord | null {
    if (wanted) this.#note(blobKey(repository, digest));
    return this.#records.get<BlobRecord>(blobKey(repository, digest))?.value ?? null;
  }

  /** Other blobs of the repository that are about as long as this one, the newest first. */
  blobsLike(
    repository: string,
    { digest, size }: { readonly digest: string; readonly size: number },
  ): (BlobRecord & { readonly digest: string })[] {
    const prefix = `${BLOBS}${repository}@`;
    return this.#records
      .list<BlobRecord>(prefix, skip)
      .map(({ key, value }) => ({ ...value, digest: key.slice(prefix.length) }))
      .filter((blob) => blob.digest !== digest && blob.size * SIZE_RATIO > size && blob.size < size * SIZE_RATIO)
      .sort((a, b) => b.linkedMs - a.linkedMs);
  }

  /** Repositories that have any of these blobs, by the blob's digest. */
  withBlobs(digests: readonly string[]): Map<string, string[]> {
    const found = new Map(digests.map((digest): [string, string[]] => [digest, []]));
    for (const { key } of this.#records.list(BLOBS, skip)) {
      const at = key.indexOf('@');
      found.get(key.slice(at + 1))?.push(key.slice(BLOBS.length, at));
    }
    return found;
  }

  /** Gives the repository a blob that is in the content store. Resolves when it would survive a power cut. */
  async link(repository: string, digest: string, size: number): Promise<void> {
    const key = blobKey(repository, digest);
    const value: BlobRecord = { size, linkedMs: Date.now() };
    try {
      await this.#records.commit([{ key, expect: this.#records.get(key)?.generation ?? 0, value }]);
    } catch (error) {
      // Somebody else pushed the same blob at the same moment: it is there.
      if (!(error instanceof SkerryError) || error.code !== 'STATE_CONFLICT' || !this.#records.get(key)) throw error;
    }
  }

  /** False when it was not there. */
  async unlink(repository: string, digest: string): Promise<boolean> {
    return this.#exclusively(async () => {
      const found = this.#records.get(blobKey(repository, digest));
      if (found) await this.#records.commit([{ key: found.key, expect: found.generation, delete: true }]);
      return found !== null;
    });
  }

  /** @param reference a tag or a digest */
  manifest(repository: string, reference: string): StoredManifest | null {
    const digest = reference.includes(':')
      ? reference
      : this.#records.get<TagRecord>(tagKey(repository, reference))?.value.digest;
    const found = digest === undefined ? null : this.#records.get<ManifestRecord>(manifestKey(repository, digest));
    return found && { ...found.value, digest: digest as string };
  }

  /** Whether a tag may have moved at the upstream that it came from. */
  isFromUpstream(repository: string, reference: string): boolean {
    const tag = reference.includes(':') ? null : this.#records.get<TagRecord>(tagKey(repository, reference));
    return tag?.value.fromUpstream === true;
  }

  /** What a blob is, as the manifest says that names it; null when none of this repository does. */
  async namedBlob(repository: string, digest: string): Promise<NamedBlob | null> {
    const naming = this.manifests(repository).find(({ blobs }) => blobs.includes(digest));
    return naming ? namedBlob(await this.read(naming.digest), digest) : null;
  }

  /** The very bytes that were pushed. Throws BLOB_MISSING, BLOB_CORRUPT. */
  async read(digest: string): Promise<Buffer> {
    return readFile((await this.#blobs.open(digest)).path);
  }

  /**
   * Stores a manifest under its digest and these tags, all of them or none. Throws MANIFEST_INVALID, MANIFEST_TOO_LARGE,
   * MANIFEST_BLOB_UNKNOWN, DIGEST_MISMATCH.
   */
  async put(
    repository: string,
    bytes: Uint8Array,
    { contentType, digest, tags, fromUpstream = false }: PutManifest,
  ): Promise<{ digest: string; document: ManifestDocument }> {
    const document = parseManifest(bytes, contentType);
    // Nothing is written of a manifest that names what is not there.
    if (!fromUpstream) this.#checkNamed(repository, document);
    const stored = await this.#blobs.putBytes(bytes, digest === null ? {} : { expectedDigest: digest });
    await this.#exclusively(async () => {
      if (!fromUpstream) this.#checkNamed(repository, document);
      const { mediaType, blobs, manifests, subject, artifactType } = document;
      const value: ManifestRecord = {
        mediaType,
        size: bytes.length,
        blobs,
        manifests,
        subject,
        artifactType,
        pushedMs: Date.now(),
      };
      const tag: TagRecord = {
        ...{ digest: stored.digest, taggedMs: value.pushedMs },
        ...(fromUpstream ? { fromUpstream } : {}),
      };
      await this.#records.commit([
        this.#write(manifestKey(repository, stored.digest), value),
        ...[...new Set(tags)].map((each) => this.#write(tagKey(repository, each), tag)),
      ]);
    });
    return { digest: stored.digest, document };
  }

  #checkNamed(repository: string, { blobs, manifests }: ManifestDocument): void {
    const missing =
      blobs.find((digest) => !this.blob(repository, digest)) ??
      // Only what is there can be named, so that no index ever names itself, however deep.
      manifests.find((digest) => !this.manifest(repository, digest));
    if (missing !== undefined) throw registryErrors.MANIFEST_BLOB_UNKNOWN(repository, missing);
  }

  /** False when there was no such tag. */
  async untag(repository: string, tag: string): Promise<boolean> {
    return this.#exclusively(async () => {
      const found = this.#records.get(tagKey(repository, tag));
      if (found) await this.#records.commit([{ key: found.key, expect: found.generation, delete: true }]);
      return found !== null;
    });
  }

  /** Removes a manifest and the tags that name it. False when it was not there. */
  async remove(repository: string, digest: string): Promise<boolean> {
    return this.#exclusively(async () => {
      const found = this.#records.get(manifestKey(repository, digest));
      if (!found) return false;
      const gone = this.#records
        .list<TagRecord>(`${TAGS}${repository}:`, skip)
        .filter(({ value }) => value.digest === digest);
      await this.#records.commit(
        [found, ...gone].map(({ key, generation }) => ({ key, expect: generation, delete: true })),
      );
      return true;
    });
  }

  /** Of one repository in order; of all of them when it is left out. */
  tags(repository?: string, onUnreadable: OnUnreadable = skip): TaggedManifest[] {
    const prefix = repository === undefined ? TAGS : `${TAGS}${repository}:`;
    return this.#records.list<TagRecord>(prefix, onUnreadable).map(({ key, value }) => {
      const [name, tag] = key.slice(TAGS.length).split(':') as [string, string];
      return { repository: name, tag, digest: value.digest, taggedMs: value.taggedMs };
    });
  }

  manifests(repository: string, onUnreadable: OnUnreadable = skip): StoredManifest[] {
    const prefix = `${MANIFESTS}${repository}@`;
    return this.#records
      .list<ManifestRecord>(prefix, onUnreadable)
      .map(({ key, value }) => ({ ...value, digest: key.slice(prefix.length) }));
  }

  /** Manifests of the repository that are about this one, as they say of themselves. */
  async *referrers(repository: string, subject: string): AsyncGenerator<Referrer> {
    for (const { digest, mediaType, size, artifactType, subject: about } of this.manifests(repository)) {
      if (about !== subject) continue;
      const { annotations } = parseManifest(await this.read(digest), mediaType);
      yield {
        mediaType,
        digest,
        size,
        ...(artifactType === null ? {} : { artifactType }),
        ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      };
    }
  }

  /** Throws STATE_CORRUPT when a record cannot be read. */
  inventory(repository: string): Inventory {
    const prefix = `${BLOBS}${repository}@`;
    const blobs = this.#records.list<BlobRecord>(prefix).map(({ key, value }): [string, BlobRecord] => {
      const linkedMs = Math.max(value.linkedMs, this.#wanted.get(key) ?? 0);
      return [key.slice(prefix.length), { ...value, linkedMs }];
    });
    const manifests = this.manifests(repository, (_key, error) => raise(error));
    return { manifests, tags: this.tags(repository, (_key, error) => raise(error)), blobs: new Map(blobs) };
  }

  /** What `collect` would remove. */
  garbage(repository: string, rules: CollectRules): Garbage {
    return garbageOf(this.inventory(repository), rules);
  }

  /**
   * Takes from a repository what nothing in it leads to. The bytes stay until they are swept. Throws STATE_CORRUPT when a
   * record cannot be read: it may lead to anything.
   */
  collect(repository: string, rules: CollectRules): Promise<Garbage> {
    return this.#exclusively(async () => {
      const garbage = this.garbage(repository, rules);
      const keys = [
        ...garbage.manifests.map(({ digest }) => manifestKey(repository, digest)),
        ...[...garbage.blobs.keys()].map((digest) => blobKey(repository, digest)),
        ...garbage.tags.map(({ tag }) => tagKey(repository, tag)),
      ];
      const gone = keys.flatMap((key) => this.#records.get(key) ?? []);
      if (gone.length > 0)
        await this.#records.commit(gone.map(({ key, generation }) => ({ key, expect: generation, delete: true })));
      return garbage;
    });
  }

  /**
   * Of all that any repository has: what a sweep of the content store must keep.
   * @param without what is taken for gone, by repository
   */
  digests(onUnreadable: () => void, without: ReadonlyMap<string, Garbage> = new Map()): Set<string> {
    const documents = [...this.#records.list(BLOBS, onUnreadable), ...this.#records.list(MANIFESTS, onUnreadable)];
    const gone = new Set(
      [...without].flatMap(([repository, { manifests, blobs }]) => [
        ...manifests.map(({ digest }) => manifestKey(repository, digest)),
        ...[...blobs.keys()].map((digest) => blobKey(repository, digest)),
      ]),
    );
    return new Set(documents.flatMap(({ key }) => (gone.has(key) ? [] : key.slice(key.indexOf('@') + 1))));
  }

  #note(key: string): void {
    this.#wanted.delete(key);
    this.#wanted.set(key, Date.now());
    const [oldest] = this.#wanted.keys();
    if (this.#wanted.size > MAX_WANTED) this.#wanted.delete(oldest as string);
  }

  #write(key: string, value: unknown): RecordWrite {
    return { key, expect: this.#records.get(key)?.generation ?? 0, value };
  }

  #exclusively<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#last.then(change);
    this.#last = done.catch(() => {});
    return done;
  }
}

function namesIn(documents: readonly { readonly key: string }[], prefix: string): string[] {
  return [...new Set(documents.map(({ key }) => key.slice(prefix.length, key.indexOf('@'))))];
}

function raise(error: SkerryError): never {
  throw error;
}
