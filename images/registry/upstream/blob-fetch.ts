/** A blob on its way from an upstream into the content store, which any number of readers follow while it comes. */
import { type FileHandle, open } from 'node:fs/promises';
import { imageErrors } from '../../errors.ts';
import { BlobFile, type ContentStore, splitDigest } from '../../store/index.ts';

/** Of one read of a follower, in bytes. */
const PIECE_BYTES = 256 * 1024;

export class BlobFetch {
  readonly digest: string;
  /** As the manifest says, in bytes. */
  readonly size: number;
  /** Where it comes from. */
  readonly registry: string;
  /** Resolves with the first bytes; rejects when none come. */
  readonly begun: Promise<void>;
  /** Resolves when the blob is in the store. */
  readonly done: Promise<void>;
  /** That are to have the blob when it has come. */
  readonly repositories = new Set<string>();
  readonly #store: ContentStore;
  readonly #path: string;
  #written = 0;
  #whole = false;
  #failed: { readonly error: unknown } | null = null;
  #waiting: (() => void)[] = [];

  /** @param path of a file that is not there, on the disk of the store @param finish what belongs to being there */
  constructor(
    blob: { readonly digest: string; readonly size: number; readonly registry: string },
    store: ContentStore,
    path: string,
    source: AsyncIterable<Uint8Array>,
    finish: () => Promise<void>,
  ) {
    this.digest = blob.digest;
    this.size = blob.size;
    this.registry = blob.registry;
    this.#store = store;
    this.#path = path;
    this.done = this.#run(source, finish);
    this.begun = this.#change(0).then(() => {});
    // Whoever waits is told; where nobody does, the next one who asks begins anew.
    this.done.catch(() => {});
    this.begun.catch(() => {});
  }

  /** That are still to come, in bytes. */
  get missing(): number {
    return this.size - this.#written;
  }

  async #run(source: AsyncIterable<Uint8Array>, finish: () => Promise<void>): Promise<void> {
    try {
      const file = await BlobFile.create(this.#path, splitDigest(this.digest).algorithm, this.#store.space);
      try {
        try {
          await file.append(this.#watched(source, file), { maxBytes: this.size });
          if (file.digest() !== this.digest) throw imageErrors.DIGEST_MISMATCH(this.digest, file.digest());
          await file.sync();
        } finally {
          await file.close();
        }
        await this.#store.adopt(this.#path, this.digest);
      } catch (error) {
        await file.discard();
        throw error;
      }
      await finish();
      this.#written = this.size;
      this.#whole = true;
    } catch (error) {
      this.#failed = { error };
      throw error;
    } finally {
      this.#wake();
    }
  }

  async *#watched(source: AsyncIterable<Uint8Array>, file: BlobFile): AsyncGenerator<Uint8Array> {
    for await (const piece of source) {
      yield piece;
      // The last bytes are held back until all of them are known to be the right ones.
      const safe = Math.min(file.size, this.size - 1);
      if (safe <= this.#written) continue;
      this.#written = safe;
      this.#wake();
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Resolves with how much there is, when that is more than `position`, or all. Throws what the fetch failed with. */
  async #change(position: number): Promise<number> {
    while (!this.#whole && this.#written <= position) {
      if (this.#failed) throw this.#failed.error;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.#written;
  }

  /** The bytes from `first` to `last`, as they come: the last of the blob only when it is whole and right. */
  async *read(first: number, last: number): AsyncGenerator<Buffer> {
    const file = await this.#open();
    try {
      for (let position = first; position <= last; ) {
        const there = await this.#change(position);
        const buffer = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.min(there, last + 1) - position));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
        if (bytesRead === 0) throw imageErrors.BLOB_MISSING(this.digest);
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  /** The file has another name when it has become a blob. */
  async #open(): Promise<FileHandle> {
    try {
      return await open(this.#path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      await this.done;
      return open((await this.#store.open(this.digest)).path, 'r');
    }
  }
}
