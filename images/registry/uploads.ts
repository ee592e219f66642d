/**
 * Uploads of blobs: each is a file in a folder of the content store, and a small one beside it that says whose it is. They
 * outlive a restart: what came before it is read again when the upload goes on.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, statfs, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import * as z from 'zod';
import { imageErrors } from '../errors.ts';
import { BlobFile, type ContentStore, type DigestAlgorithm, type StoreSpace, splitDigest } from '../store/index.ts';
import { registryErrors } from './errors.ts';

export interface UploadLimits {
  /** Uploads under way at once. */
  readonly uploads: number;
  /** One that nothing came for in this time is removed, in milliseconds. */
  readonly idleMs: number;
}

const UPLOAD_LIMITS: UploadLimits = {
  uploads: 1000,
  // A device that lost its network in the evening goes on in the morning.
  idleMs: 24 * 3_600_000,
};

/** Of the disk, that pushes leave to the node, in bytes and as a share: what is deployed must still be written down. */
const RESERVE_BYTES = 64 * 2 ** 20;
const RESERVE_SHARE = 0.02;

const ownerSchema = z.object({ repository: z.string(), algorithm: z.enum(['sha256', 'sha512']) });
type Owner = z.infer<typeof ownerSchema>;

const idGrammar = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

interface Chunk {
  readonly body: Readable;
  /** Where it belongs, as its sender says: first and last byte, both counted from 0. Null: behind what is there. */
  readonly range: { readonly first: number; readonly last: number } | null;
}

export class Upload {
  readonly id: string;
  readonly repository: string;
  readonly #algorithm: DigestAlgorithm;
  readonly #path: string;
  readonly #space: StoreSpace;
  /** Null until something comes after a restart. */
  #file: BlobFile | null;
  #size: number;
  #activeMs: number;
  #ended = false;
  /** Ends what is being received, when its sender begins anew on another connection. */
  #receiving: AbortController | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    id: string,
    owner: Owner,
    { path, file, space }: { path: string; file: BlobFile | null; space: StoreSpace },
    found = { size: 0, mtimeMs: Date.now() },
  ) {
    this.id = id;
    this.#space = space;
    this.repository = owner.repository;
    this.#algorithm = owner.algorithm;
    this.#path = path;
    this.#file = file;
    this.#size = found.size;
    this.#activeMs = found.mtimeMs;
  }

  /** What came so far, in bytes. */
  get size(): number {
    return this.#file?.size ?? this.#size;
  }

  /** When something came last, in milliseconds since 1970; now while something comes. */
  get activeMs(): number {
    return this.#receiving ? Date.now() : this.#activeMs;
  }

  /**
   * Adds a chunk. What came of a sender that vanishes is kept. Throws UPLOAD_OUT_OF_ORDER, SIZE_INVALID,
   * BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID when the sender took over on another connection, and the errors of the
   * content store.
   */
  append(chunk: Chunk): Promise<void> {
    return this.#alone(async (file, signal) => this.#receive(file, chunk, signal));
  }

  /**
   * Adds the last chunk, and makes the upload a blob of the store. Throws what `append` throws, and DIGEST_MISMATCH: then
   * the upload is gone. Returns the blob's size in bytes.
   */
  finish(chunk: Chunk, digest: string, store: ContentStore): Promise<number> {
    const { algorithm } = splitDigest(digest);
    return this.#alone(async (file, signal) => {
      await this.#receive(file, chunk, signal);
      let whole = file;
      if (algorithm !== file.algorithm) {
        this.#file = null;
        await file.close();
        whole = await BlobFile.reopen(this.#path, algorithm, this.#space);
        this.#file = whole;
      }
      if (whole.digest() !== digest) throw imageErrors.DIGEST_MISMATCH(digest, whole.digest());
      if (await store.renew(digest)) return whole.size;
      await whole.sync();
      await store.adopt(this.#path, digest);
      return whole.size;
    });
  }

  /**
   * Adds the last chunk of something that stands for the blob, and stores the blob that `make` makes of all of it. Throws
   * what `append` throws, SIZE_INVALID beyond `maxBytes`, and what `make` throws. Returns the blob's size in bytes.
   */
  finishBy(chunk: Chunk, maxBytes: number, make: (bytes: Buffer) => Promise<{ size: number }>): Promise<number> {
    return this.#alone(async (file, signal) => {
      await this.#receive(file, chunk, signal);
      if (file.size > maxBytes) throw registryErrors.SIZE_INVALID(`${file.size} bytes are too many for a delta`);
      return (await make(await readFile(this.#path))).size;
    });
  }

  /** Closes the file. Nothing can be added any more. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#receiving?.abort();
    await this.#last;
    this.#size = this.size;
    await this.#file?.close();
    this.#file = null;
  }

  /** One request at a time; a new one ends the one before, whose connection may be dead without anyone knowing. */
  #alone<T>(work: (file: BlobFile, signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#receiving?.abort();
    const receiving = new AbortController();
    this.#receiving = receiving;
    const done = this.#last.then(async () => {
      try {
        if (this.#ended) throw registryErrors.BLOB_UPLOAD_UNKNOWN();
        this.#file ??= await BlobFile.reopen(this.#path, this.#algorithm, this.#space);
        return await work(this.#file, receiving.signal);
      } finally {
        this.#activeMs = Date.now();
        if (this.#receiving === receiving) this.#receiving = null;
      }
    });
    this.#last = done.catch(() => {});
    return done;
  }

  async #receive(file: BlobFile, { body, range }: Chunk, signal: AbortSignal): Promise<void> {
    const stop = () => body.destroy(registryErrors.BLOB_UPLOAD_INVALID('another request has taken its place'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop);
    // What is wrong with it can still be answered: the connection stays.
    const pieces = body.iterator({ destroyOnReturn: false });
    if (range === null) return file.append(pieces, { owned: true });
    const { first, last } = range;
    if (first !== file.size) throw registryErrors.UPLOAD_OUT_OF_ORDER(`${first}-${last}`, file.size);
    const before = file.mark();
    const limit = last + 1;
    try {
      await file.append(pieces, { maxBytes: limit, owned: true });
    } catch (error) {
      if ((error as { code?: string }).code !== 'BLOB_TOO_LARGE') throw error;
      await file.rewind(before);
      throw registryErrors.SIZE_INVALID(`the chunk ${first}-${last} has more bytes than that`);
    }
    if (file.size === limit) return;
    const came = file.size - first;
    await file.rewind(before);
    throw registryErrors.SIZE_INVALID(`the chunk ${first}-${last} has ${came} bytes`);
  }
}

export class Uploads {
  readonly #folder: string;
  readonly #space: StoreSpace;
  readonly #limits: UploadLimits;
  readonly #uploads = new Map<string, Upload>();

  private constructor(folder: string, space: StoreSpace, limits: UploadLimits) {
    this.#folder = folder;
    this.#space = space;
    this.#limits = limits;
  }

  /** Finds what a process before this one has left in the folder. */
  static async open(store: ContentStore, limits = UPLOAD_LIMITS): Promise<Uploads> {
    const uploads = new Uploads(join(store.folder, 'uploads'), store.space, limits);
    await uploads.#find();
    return uploads;
  }

  async #find(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const names = new Set(await readdir(this.#folder));
    for (const name of names) {
      const id = name.replace(/\.json$/, '');
      if (this.#uploads.has(id)) continue;
      const owner = names.has(`${id}.json`) && names.has(id) && idGrammar.test(id) ? await this.#owner(id) : null;
      if (!owner) {
        await rm(join(this.#folder, name), { recursive: true, force: true });
        continue;
      }
      const path = join(this.#folder, id);
      const found = await stat(path);
      this.#space.count(found.size);
      this.#uploads.set(id, new Upload(id, owner, { path, file: null, space: this.#space }, found));
    }
  }

  /** Null when it cannot be read: a power cut may have come before it was on the disk. */
  async #owner(id: string): Promise<Owner | null> {
    try {
      return ownerSchema.parse(JSON.parse(await readFile(join(this.#folder, `${id}.json`), 'utf8')));
    } catch {
      return null;
    }
  }

  /**
   * Throws STORE_DISK_FULL when so many bytes would take the room that the node itself needs, STORE_FULL when the store may not
   * have so many more.
   */
  async checkRoom(bytes: number): Promise<void> {
    await this.#space.require(bytes);
    const { bavail, bsize, blocks } = await statfs(this.#folder);
    const reserve = Math.min(RESERVE_BYTES, blocks * bsize * RESERVE_SHARE);
    if (bavail * bsize - bytes < reserve) throw imageErrors.STORE_DISK_FULL(this.#folder);
  }

  /** Throws TOOMANYREQUESTS, and the errors of the content store. */
  async start(repository: string, algorithm: DigestAlgorithm): Promise<Upload> {
    if (this.#uploads.size >= this.#limits.uploads) throw registryErrors.TOOMANYREQUESTS(this.#limits.uploads);
    const id = randomUUID();
    const path = join(this.#folder, id);
    const file = await BlobFile.create(path, algorithm, this.#space);
    const owner: Owner = { repository, algorithm };
    const upload = new Upload(id, owner, { path, file, space: this.#space });
    this.#uploads.set(id, upload);
    try {
      await writeFile(`${path}.new`, JSON.stringify(owner), { mode: 0o600 });
      await rename(`${path}.new`, `${path}.json`);
    } catch (error) {
      await this.remove(upload);
      throw error;
    }
    return upload;
  }

  /** Throws BLOB_UPLOAD_UNKNOWN when this repository has none of that name. */
  find(repository: string, id: string): Upload {
    const upload = this.#uploads.get(id);
    if (upload?.repository !== repository) throw registryErrors.BLOB_UPLOAD_UNKNOWN();
    return upload;
  }

  /** Idempotent. */
  async remove(upload: Upload): Promise<void> {
    this.#uploads.delete(upload.id);
    await upload.end();
    const path = join(this.#folder, upload.id);
    // The file is not there when it has become a blob.
    const gone = await unlink(path).then(
      () => true,
      () => false,
    );
    if (gone) this.#space.give(upload.size);
    await rm(`${path}.json`, { force: true });
    await rm(`${path}.new`, { force: true });
  }

  /** Removes those that nothing came for. */
  async expire(now = Date.now()): Promise<void> {
    for (const upload of [...this.#uploads.values()])
      if (upload.activeMs < now - this.#limits.idleMs) await this.remove(upload);
  }

  /** Those under way stay on the disk, for the next process. */
  async close(): Promise<void> {
    await Promise.all([...this.#uploads.values()].map((upload) => upload.end()));
  }
}
