/** A file that grows to become a blob: hashed as it grows, and written in large pieces while the next ones come. */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { imageErrors } from '../errors.ts';
import { type DigestAlgorithm, RunningDigest } from './digest.ts';
import { explain } from './disk.ts';
import { release } from './release.ts';
import type { StoreSpace } from './space.ts';

/** So much is gathered for one write, in bytes: twice that is in memory, once on its way and once being gathered. */
const WRITE_BYTES = 256 * 1024;

interface Mark {
  readonly size: number;
  readonly digest: RunningDigest;
}

export class BlobFile {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #space: StoreSpace;
  #digest: RunningDigest;
  #size: number;

  private constructor(path: string, file: FileHandle, space: StoreSpace, mark: Mark) {
    this.path = path;
    this.#file = file;
    this.#space = space;
    this.#digest = mark.digest;
    this.#size = mark.size;
  }

  /** A new one, whose bytes are taken from `space`. Throws the errors of the content store. */
  static async create(path: string, algorithm: DigestAlgorithm, space: StoreSpace): Promise<BlobFile> {
    const file = await disk(path, open(path, 'wx', 0o600));
    return new BlobFile(path, file, space, { size: 0, digest: new RunningDigest(algorithm) });
  }

  /** One that was begun before, and whose bytes are counted: what is there is read again, for its digest. */
  static async reopen(path: string, algorithm: DigestAlgorithm, space: StoreSpace): Promise<BlobFile> {
    const digest = new RunningDigest(algorithm);
    const file = await disk(path, open(path, 'r+'));
    try {
      let size = 0;
      for await (const piece of createReadStream(path, { highWaterMark: WRITE_BYTES })) {
        digest.update(piece);
        size += piece.length;
      }
      return new BlobFile(path, file, space, { size, digest });
    } catch (error) {
      await file.close();
      throw explain(dirname(path), error);
    }
  }

  /** In bytes. */
  get size(): number {
    return this.#size;
  }

  get algorithm(): DigestAlgorithm {
    return this.#digest.algorithm;
  }

  /** What `rewind` takes to come back to now. */
  mark(): Mark {
    return { size: this.#size, digest: this.#digest.copy() };
  }

  async rewind({ size, digest }: Mark): Promise<void> {
    await disk(this.path, this.#file.truncate(size));
    this.#space.give(this.#size - size);
    this.#size = size;
    this.#digest = digest.copy();
  }

  /**
   * Adds what `source` yields, in bounded memory. When the source fails, what came before is kept, and the error thrown;
   * when the disk does, the file is as it was at the last piece that was written whole. Throws BLOB_TOO_LARGE when the
   * file would become larger than `maxBytes`, and the errors of the content store.
   * @param owned the pieces are nobody else's: their memory is given back as soon as they are written
   */
  async append(
    source: AsyncIterable<Uint8Array>,
    { maxBytes = Number.POSITIVE_INFINITY, owned = false } = {},
  ): Promise<void> {
    let gathered: Uint8Array[] = [];
    let bytes = 0;
    let writing: Promise<void> = Promise.resolve();
    const flush = async () => {
      await writing;
      const pieces = gathered;
      gathered = [];
      bytes = 0;
      writing = this.#write(pieces, owned);
      // It is awaited before the next write and at the end: a failure in between is no unhandled one.
      writing.catch(() => {});
    };
    try {
      for await (const piece of source) {
        if (this.#size + bytes + piece.length > maxBytes) throw imageErrors.BLOB_TOO_LARGE(maxBytes);
        gathered.push(piece);
        bytes += piece.length;
        if (bytes >= WRITE_BYTES) await flush();
      }
    } finally {
      await flush();
      await writing;
    }
  }

  async #write(pieces: readonly Uint8Array[], owned: boolean): Promise<void> {
    if (pieces.length === 0) return;
    const total = pieces.reduce((sum, { length }) => sum + length, 0);
    await this.#space.take(total);
    const writing = disk(this.path, writeAll(this.#file, pieces, total, this.#size));
    const next = this.#digest.copy();
    for (const piece of pieces) next.update(piece);
    try {
      await writing;
    } catch (error) {
      // Of a write that broke off in the midst nothing counts.
      await this.#file.truncate(this.#size).catch(() => {});
      this.#space.give(total);
      throw error;
    }
    this.#digest = next;
    this.#size += total;
    if (owned) pieces.forEach(release);
  }

  /** Of all that was added so far. */
  digest(): string {
    return this.#digest.copy().end();
  }

  async sync(): Promise<void> {
    await disk(this.path, this.#file.sync());
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /** Removes it, closed as it is. It may be gone already, or have become a blob. */
  async discard(): Promise<void> {
    const gone = await unlink(this.path).then(
      () => true,
      () => false,
    );
    if (gone) this.#space.give(this.#size);
  }
}

async function disk<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw explain(dirname(path), error);
  }
}

/** A write may end before its end: the rest of it is written behind. */
async function writeAll(
  file: FileHandle,
  pieces: readonly Uint8Array[],
  total: number,
  position: number,
): Promise<void> {
  const { bytesWritten } = await file.writev(pieces, position);
  if (bytesWritten === total) return;
  const rest = Buffer.concat(pieces).subarray(bytesWritten);
  for (let done = 0; done < rest.length; )
    done += (await file.write(rest, done, rest.length - done, position + bytesWritten + done)).bytesWritten;
}
