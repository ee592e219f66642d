/** Kernels and initial file systems of machines, by their digest: root's own copies, which nobody can change under a guest. */
import { read } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MachineFiles } from '../../runtime/drivers/microvm/host.ts';
import { hostErrors } from './errors.ts';
import { hashFile } from './hash-file.ts';

const readAt = promisify(read);

/** Of a kernel or an initial file system, in bytes. */
const MOST_BYTES = 512 * 2 ** 20;

export class StoredMachineFiles implements MachineFiles {
  readonly #folder: string;
  readonly #putting = new Map<string, Promise<void>>();
  /** Their bytes were compared with their names in this run. */
  readonly #verified = new Set<string>();
  #serial = 0;

  /** `folder`: root's alone; what a crash left half made there is gone already. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async has(digest: string): Promise<boolean> {
    return (await this.#verifiedPath(digest)) !== null;
  }

  async put(digest: string, file: number): Promise<void> {
    const putting = this.#putting.get(digest) ?? this.#put(digest, file).finally(() => this.#putting.delete(digest));
    this.#putting.set(digest, putting);
    await putting;
  }

  async list(): Promise<string[]> {
    return (await readdir(this.#folder)).filter((name) => /^[0-9a-f]{64}$/.test(name)).map((name) => `sha256:${name}`);
  }

  async delete(digest: string): Promise<boolean> {
    const found = this.#verified.delete(digest);
    await rm(this.#path(digest), { force: true });
    return found;
  }

  /** Where it is. Throws MACHINE_FILE_MISSING. */
  async path(digest: string): Promise<string> {
    const found = await this.#verifiedPath(digest);
    if (found === null) throw hostErrors.MACHINE_FILE_MISSING(digest);
    return found;
  }

  #path(digest: string): string {
    return join(this.#folder, digest.slice('sha256:'.length));
  }

  async #verifiedPath(digest: string): Promise<string | null> {
    const path = this.#path(digest);
    if (this.#verified.has(digest)) return path;
    const file = await open(path, 'r').catch(() => null);
    if (!file) return null;
    try {
      if ((await hashFile(file)).digest !== digest) {
        await rm(path, { force: true });
        return null;
      }
    } finally {
      await file.close();
    }
    this.#verified.add(digest);
    return path;
  }

  async #put(digest: string, source: number): Promise<void> {
    if (await this.has(digest)) return;
    const part = join(this.#folder, `part-${++this.#serial}`);
    await mkdir(this.#folder, { recursive: true });
    const file = await open(part, 'wx', 0o444);
    try {
      const reader = { read: (...rest: [Buffer, number, number, number]) => readAt(source, ...rest) };
      const { digest: found } = await hashFile(reader as unknown as FileHandle, MOST_BYTES, (piece) =>
        file.write(piece),
      );
      if (found !== digest) throw hostErrors.MACHINE_FILE_CORRUPT(digest);
      await file.sync();
      await rename(part, this.#path(digest));
      this.#verified.add(digest);
    } catch (error) {
      await rm(part, { force: true });
      throw error instanceof RangeError ? hostErrors.MACHINE_FILE_CORRUPT(digest).because(error) : error;
    } finally {
      await file.close();
    }
  }
}
