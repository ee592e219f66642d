/**
 * Folders that outlive containers: each a file of its size with an ext4 file system in it, so that what is written stays
 * bounded whatever the disk below is. The file takes the room that is in use, not its size; a new one has to fit all the same.
 */
import { execFile } from 'node:child_process';
import {
  chown,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  truncate,
} from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { HostVolume, VolumeMount } from '../../runtime/drivers/container/host.ts';
import { hostErrors } from './errors.ts';
import { LAYER_IDS } from './ids.ts';
import { MKFS } from './packages.ts';

const run = promisify(execFile);

const ENDING = '.ext4';
/** Of a new one of which nothing is said. */
const DEFAULT_BYTES = 2 ** 30;

export class Volumes {
  readonly #folder: string;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** `folder`: root's alone. */
  static async open(folder: string): Promise<Volumes> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    // What a crash left half made.
    for (const name of await readdir(folder)) {
      if (!name.endsWith(ENDING)) await rm(join(folder, name), { recursive: true, force: true });
    }
    return new Volumes(folder);
  }

  /** Opens it, made when it is not there. Throws VOLUME_SIZE, VOLUME_NO_ROOM, VOLUME_NOT_MADE. */
  take({ name, bytes }: Pick<VolumeMount, 'name' | 'bytes'>): Promise<FileHandle> {
    const path = this.#path(name);
    return this.#inTurn(async () => {
      const found = await stat(path).catch(() => null);
      if (!found) await this.#make(path, name, bytes ?? DEFAULT_BYTES);
      else if (bytes !== null && found.size !== bytes) throw hostErrors.VOLUME_SIZE(name, found.size, bytes);
      return open(path, 'r+');
    });
  }

  async list(): Promise<Omit<HostVolume, 'usedBy'>[]> {
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith(ENDING));
    return Promise.all(
      names.map(async (name) => {
        const { size, blocks } = await stat(join(this.#folder, name));
        return { name: name.slice(0, -ENDING.length), bytes: size, usedBytes: blocks * 512 };
      }),
    );
  }

  /** False when it was not there. `users`: asked when nobody can take it any more. Throws VOLUME_IN_USE. */
  delete(name: string, users: () => readonly string[]): Promise<boolean> {
    const path = this.#path(name);
    return this.#inTurn(async () => {
      const found = users();
      if (found.length > 0) throw hostErrors.VOLUME_IN_USE(name, found.join(', '));
      const there = await stat(path).catch(() => null);
      await rm(path, { force: true });
      return there !== null;
    });
  }

  #path(name: string): string {
    return join(this.#folder, `${name}${ENDING}`);
  }

  /** Its root belongs to root of the containers, as layers do, and is empty: what a new file system has stands beside it. */
  async #make(path: string, name: string, bytes: number): Promise<void> {
    await this.#checkRoom(name, bytes);
    const workshop = await mkdtemp(join(this.#folder, 'new-'));
    const image = join(workshop, 'image');
    const { base } = LAYER_IDS;
    try {
      await mkdir(join(workshop, 'template', 'data'), { recursive: true });
      await chown(join(workshop, 'template', 'data'), base, base);
      await (await open(image, 'wx', 0o600)).close();
      await truncate(image, bytes);
      const extended = 'lazy_itable_init=1,lazy_journal_init=1,nodiscard';
      await run(MKFS, ['-q', '-t', 'ext4', '-m', '0', '-E', extended, '-d', join(workshop, 'template'), image]);
      const made = await open(image, 'r');
      await made.sync();
      await made.close();
      await rename(image, path);
    } catch (error) {
      const { stderr, message } = error as Error & { stderr?: string };
      throw hostErrors.VOLUME_NOT_MADE(name, (stderr || message).trim()).because(error);
    } finally {
      await rm(workshop, { recursive: true, force: true });
    }
  }

  /** A volume takes of the disk what is in it: what all of them may come to must fit, or a full one would fail for another. */
  async #checkRoom(name: string, bytes: number): Promise<void> {
    const volumes = await this.list();
    const promised = volumes.reduce((sum, each) => sum + Math.max(0, each.bytes - each.usedBytes), 0);
    const { bavail, bsize } = await statfs(this.#folder);
    const free = bavail * bsize;
    if (promised + bytes > free) throw hostErrors.VOLUME_NO_ROOM(name, bytes, free, promised);
  }

  /** Two that want a new one get the same, and nobody takes one that is about to go. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}
