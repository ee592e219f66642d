import { type BigIntStats, constants, renameSync, rmSync, statSync, unlinkSync, utimesSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { imageErrors } from '../errors.ts';
import { BlobFile } from './blob-file.ts';
import { type DigestAlgorithm, digestOf, isDigest, RunningDigest, splitDigest } from './digest.ts';
import { explain, syncFolder } from './disk.ts';
import { StoreSpace } from './space.ts';

/** The named moments of a put, for tests that end the process at each of them. */
export type BlobStep =
  | 'blob:created'
  | 'blob:written'
  | 'blob:synced'
  | 'blob:renamed'
  | 'blob:folder-synced'
  | 'blob:deleted';

export interface ContentStoreOptions {
  /** Of all blobs and what is on its way to become one, in bytes; none when left out. */
  readonly limit?: number;
  readonly onStep?: (step: BlobStep) => void;
}

export interface PutOptions {
  /** Throws DIGEST_MISMATCH when the content has another one. Its algorithm is the blob's; sha256 when left out. */
  readonly expectedDigest?: string;
  /** Throws BLOB_TOO_LARGE beyond it. In bytes. */
  readonly maxBytes?: number;
}

export interface DeleteOptions {
  /** Deletes only what was last put before this time, in milliseconds since 1970: a put in the meantime wins. */
  readonly putBefore?: number;
}

export interface StoredBlob {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

/** A blob whose bytes were read and found to have its digest. */
export interface VerifiedBlob extends StoredBlob {
  readonly path: string;
}

export interface ListedBlob extends StoredBlob {
  /** When it was last put, also when it was there already; in milliseconds since 1970. */
  readonly modifiedMs: number;
}

/** Immutable content by its digest, as files `blobs/sha256/ab/abcdef…` that are there whole or not at all. */
export interface ContentStore {
  readonly folder: string;
  /** What all that is written is counted in. */
  readonly space: StoreSpace;
  /**
   * Stores what `source` yields, in bounded memory; resolves when it would survive a power cut. Nothing is kept when it
   * throws: STORE_FULL, STORE_DISK_FULL, STORE_FAILED, DIGEST_MISMATCH, BLOB_TOO_LARGE, or what the source threw.
   */
  putStream(source: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<StoredBlob>;
  putBytes(data: Uint8Array, options?: PutOptions): Promise<StoredBlob>;
  /**
   * Takes over a file on the same file system, whose bytes are all synced and have this digest: renames it to its place.
   * Resolves when that would survive a power cut.
   */
  adopt(path: string, digest: string): Promise<void>;
  /** Where the blob is if it is there; says nothing about its bytes. Throws DIGEST_INVALID. */
  path(digest: string): string;
  /**
   * The blob's file, its bytes checked: in full at the first use by this process, then again when the file has changed.
   * Throws BLOB_MISSING, or BLOB_CORRUPT and puts the file aside, so that the blob can be put again.
   */
  open(digest: string): Promise<VerifiedBlob>;
  has(digest: string): Promise<boolean>;
  /** True when the blob is there and whole; then it counts as put now. Throws DIGEST_INVALID. */
  renew(digest: string): Promise<boolean>;
  /** False when it was not there, or was put too lately. */
  delete(digest: string, options?: DeleteOptions): Promise<boolean>;
  /** In no particular order. */
  list(): Promise<ListedBlob[]>;
}

const readChunkBytes = 256 * 1024;
const ALGORITHMS: readonly DigestAlgorithm[] = ['sha256', 'sha512'];
const shardName = /^[a-f0-9]{2}$/;

/** Opens the store in `folder` (made if missing, mode 0700) and removes what crashed writes left. */
export async function openContentStore(folder: string, options: ContentStoreOptions = {}): Promise<ContentStore> {
  const space = new StoreSpace(options.limit ?? Number.POSITIVE_INFINITY);
  const store = new FolderContentStore(folder, space, options.onStep ?? (() => {}));
  await store.prepare();
  for (const { size } of await store.list()) space.count(size);
  return store;
}

class FolderContentStore implements ContentStore {
  readonly folder: string;
  readonly space: StoreSpace;
  readonly #blobs: string;
  readonly #incoming: string;
  readonly #quarantine: string;
  readonly #reached: (step: BlobStep) => void;
  /** Shard folders that this process has made or found, and synced. */
  readonly #shards = new Map<string, Promise<void>>();
  /** Files that were read in full and found good: digest → what identifies this very file. */
  readonly #verified = new Map<string, string>();
  readonly #verifying = new Map<string, Promise<VerifiedBlob>>();
  #counter = 0;

  constructor(folder: string, space: StoreSpace, reached: (step: BlobStep) => void) {
    this.folder = folder;
    this.space = space;
    this.#blobs = join(folder, 'blobs');
    this.#incoming = join(folder, 'incoming');
    this.#quarantine = join(folder, 'quarantine');
    this.#reached = reached;
  }

  async prepare(): Promise<void> {
    try {
      // Nobody else writes here: whatever is in it belongs to a process that is gone.
      await rm(this.#incoming, { recursive: true, force: true });
      const kinds = ALGORITHMS.map((algorithm) => join(this.#blobs, algorithm));
      for (const folder of [...kinds, this.#incoming, this.#quarantine])
        await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const folder of [this.#blobs, this.folder, dirname(this.folder)]) await syncFolder(folder);
    } catch (error) {
      throw explain(this.folder, error);
    }
  }

  path(digest: string): string {
    const { algorithm, hex } = splitDigest(digest);
    return join(this.#blobs, algorithm, hex.slice(0, 2), hex);
  }

  async putBytes(data: Uint8Array, options: PutOptions = {}): Promise<StoredBlob> {
    const digest = digestOf(data, algorithmOf(options));
    if (options.expectedDigest !== undefined && options.expectedDigest !== digest)
      throw imageErrors.DIGEST_MISMATCH(options.expectedDigest, digest);
    if (data.length > (options.maxBytes ?? Number.POSITIVE_INFINITY))
      throw imageErrors.BLOB_TOO_LARGE(options.maxBytes!);
    if (await this.renew(digest)) return { digest, size: data.length };
    return this.putStream(single(data), options);
  }

  /** Spares the flash a second copy of what is there already, and whole. */
  async renew(digest: string): Promise<boolean> {
    splitDigest(digest);
    try {
      const { path } = await this.open(digest);
      // It counts as put now. In one turn, like `delete`: either this finds no file, or `delete` a young one.
      if (this.#verified.get(digest) !== identify(statSync(path, { bigint: true }))) return false;
      const now = new Date();
      utimesSync(path, now, now);
      this.#verified.set(digest, identify(statSync(path, { bigint: true })));
      // It may have been put by a process that was killed before it synced the folder.
      await this.#shard(path);
      await syncFolder(dirname(path));
      return true;
    } catch {
      return false;
    }
  }

  async putStream(source: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<StoredBlob> {
    const { expectedDigest, maxBytes } = options;
    const path = join(this.#incoming, `${process.pid}-${this.#counter++}`);
    const file = await BlobFile.create(path, algorithmOf(options), this.space);
    try {
      try {
        this.#reached('blob:created');
        await file.append(source, maxBytes === undefined ? {} : { maxBytes });
        this.#reached('blob:written');
        if (expectedDigest !== undefined && expectedDigest !== file.digest())
          throw imageErrors.DIGEST_MISMATCH(expectedDigest, file.digest());
        await file.sync();
        this.#reached('blob:synced');
      } finally {
        await file.close();
      }
      const blob = { digest: file.digest(), size: file.size };
      await this.adopt(file.path, blob.digest);
      return blob;
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /** Over a damaged one if need be. */
  async adopt(incoming: string, digest: string): Promise<void> {
    const path = this.path(digest);
    await this.#disk(this.#shard(path));
    try {
      const before = statSync(path, { throwIfNoEntry: false });
      renameSync(incoming, path);
      this.space.give(before?.size ?? 0);
      const now = new Date();
      utimesSync(path, now, now);
      // They were hashed on their way here: the first reader need not do it again.
      this.#verified.set(digest, identify(statSync(path, { bigint: true })));
    } catch (error) {
      throw explain(this.folder, error);
    }
    this.#reached('blob:renamed');
    await this.#disk(syncFolder(dirname(path)));
    this.#reached('blob:folder-synced');
  }

  /** The first use of a shard by this process syncs its name too: a killed one may have made it and not come so far. */
  #shard(path: string): Promise<void> {
    const shard = dirname(path);
    let made = this.#shards.get(shard);
    if (!made) {
      made = mkdir(shard, { recursive: true, mode: 0o700 }).then(() => syncFolder(dirname(shard)));
      this.#shards.set(shard, made);
      made.catch(() => this.#shards.delete(shard));
    }
    return made;
  }

  open(digest: string): Promise<VerifiedBlob> {
    const path = this.path(digest);
    let verifying = this.#verifying.get(digest);
    if (!verifying) {
      verifying = this.#verify(digest, path).finally(() => this.#verifying.delete(digest));
      this.#verifying.set(digest, verifying);
    }
    return verifying;
  }

  async #verify(digest: string, path: string): Promise<VerifiedBlob> {
    let file: FileHandle;
    try {
      // Whatever has been put in its place must neither be followed nor waited for.
      file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw imageErrors.BLOB_MISSING(digest);
      if ((error as NodeJS.ErrnoException).code !== 'ELOOP') throw explain(this.folder, error);
      this.#putAside(digest, path);
      throw imageErrors.BLOB_CORRUPT(digest);
    }
    try {
      const found = await this.#disk(file.stat({ bigint: true }));
      const identity = identify(found);
      const blob = { digest, path, size: Number(found.size) };
      if (this.#verified.get(digest) === identity) return blob;
      if (found.isFile() && (await this.#hasDigest(file, digest))) {
        this.#verified.set(digest, identity);
        return blob;
      }
      // In one turn: a good copy that was put while this one was read stays.
      const now = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (now && identify(now) !== identity) return this.#verify(digest, path);
      this.#putAside(digest, path);
      throw imageErrors.BLOB_CORRUPT(digest);
    } finally {
      await file.close();
    }
  }

  async #hasDigest(file: FileHandle, digest: string): Promise<boolean> {
    try {
      return (await digestOfFile(file, splitDigest(digest).algorithm)) === digest;
    } catch (error) {
      // The disk itself says that the bytes are gone.
      if ((error as NodeJS.ErrnoException).code === 'EIO') return false;
      throw explain(this.folder, error);
    }
  }

  #putAside(digest: string, path: string): void {
    this.#verified.delete(digest);
    const aside = join(this.#quarantine, splitDigest(digest).hex);
    try {
      rmSync(aside, { recursive: true, force: true });
      const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      renameSync(path, aside);
      this.space.give(size);
    } catch (error) {
      // Deleted in the meantime: that is as good.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw explain(this.folder, error);
    }
  }

  async has(digest: string): Promise<boolean> {
    try {
      return (await stat(this.path(digest))).isFile();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw explain(this.folder, error);
    }
  }

  async delete(digest: string, options: DeleteOptions = {}): Promise<boolean> {
    const path = this.path(digest);
    try {
      // In one turn: no put of this process comes between the look and the removal.
      const { mtimeMs, size } = statSync(path);
      if (mtimeMs >= (options.putBefore ?? Number.POSITIVE_INFINITY)) return false;
      unlinkSync(path);
      this.space.give(size);
      this.#verified.delete(digest);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw explain(this.folder, error);
    }
    this.#reached('blob:deleted');
    await this.#disk(syncFolder(dirname(path)));
    return true;
  }

  async list(): Promise<ListedBlob[]> {
    const blobs: ListedBlob[] = [];
    for (const algorithm of ALGORITHMS) {
      const folder = join(this.#blobs, algorithm);
      for (const shard of await this.#disk(readdir(folder))) {
        if (!shardName.test(shard)) continue;
        for (const name of await this.#disk(readdir(join(folder, shard)))) {
          const digest = `${algorithm}:${name}`;
          if (!isDigest(digest)) continue;
          const found = await stat(this.path(digest)).catch(() => null);
          if (found) blobs.push({ digest, size: found.size, modifiedMs: found.mtimeMs });
        }
      }
    }
    return blobs;
  }

  async #disk<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw explain(this.folder, error);
    }
  }
}

/** Throws DIGEST_INVALID. */
function algorithmOf({ expectedDigest }: PutOptions): DigestAlgorithm {
  return expectedDigest === undefined ? 'sha256' : splitDigest(expectedDigest).algorithm;
}

async function* single(data: Uint8Array): AsyncIterable<Uint8Array> {
  yield data;
}

/** The file with this inode, as last written: a changed or exchanged one is read again. */
function identify({ ino, dev, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

async function digestOfFile(file: FileHandle, algorithm: DigestAlgorithm): Promise<string> {
  const digest = new RunningDigest(algorithm);
  const buffer = Buffer.allocUnsafe(readChunkBytes);
  let position = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return digest.end();
    digest.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}
