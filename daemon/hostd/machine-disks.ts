/**
 * Root disks of machines: the layers of an image, merged, as one erofs file, which is made once and shared by all machines
 * of the image. It is made by nobody: root of a user namespace that owns the layers and sees little else.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chown,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as z from 'zod';
import type { MachineDisks } from '../../runtime/drivers/microvm/host.ts';
import { DISK_BYTES } from '../../runtime/drivers/microvm/qemu/command-line.ts';
import { hostErrors } from './errors.ts';
import { hashFile } from './hash-file.ts';
import type { StoredLayers } from './host-layers.ts';
import { LAYER_IDS } from './ids.ts';
import { LAUNCHER } from './split.ts';

const run = promisify(execFile);

export const MKFS_EROFS = '/usr/bin/mkfs.erofs';
const MAKE_MS = 10 * 60_000;
/** What it needs to run, read-only in its root. */
const SYSTEM = ['/usr', '/lib', '/lib64'];

/** Beside each disk: what it has to be. */
const Description = z.object({ digest: z.string(), bytes: z.int() });

export class StoredMachineDisks implements MachineDisks {
  readonly #folder: string;
  readonly #layers: StoredLayers;
  readonly #making = new Map<string, Promise<number>>();
  /** Sizes of those whose bytes were compared with their descriptions in this run, by name. */
  readonly #verified = new Map<string, number>();
  /** Machines that have a disk, by name. */
  readonly #users = new Map<string, number>();

  /** `folder`: root's alone; what a crash left half made there is gone already. */
  constructor(folder: string, layers: StoredLayers) {
    this.#folder = folder;
    this.#layers = layers;
  }

  async make(layers: readonly string[]): Promise<{ bytes: number }> {
    const name = nameOf(layers);
    const making = this.#making.get(name) ?? this.#make(name, layers).finally(() => this.#making.delete(name));
    this.#making.set(name, making);
    return { bytes: await making };
  }

  async keep(images: readonly (readonly string[])[]): Promise<void> {
    const kept = new Set(images.map(nameOf));
    for (const file of await readdir(this.#folder)) {
      const name = /^([0-9a-f]{64})\.erofs$/.exec(file)?.[1];
      if (name === undefined || kept.has(name) || this.#making.has(name) || (this.#users.get(name) ?? 0) > 0) continue;
      await this.#remove(name);
    }
  }

  /** Opens it to be read; `release` when no machine has it any more. Throws DISK_NOT_MADE. */
  async take(layers: readonly string[]): Promise<{ readonly file: FileHandle; release(): void }> {
    const name = nameOf(layers);
    this.#users.set(name, (this.#users.get(name) ?? 0) + 1);
    const release = () => void this.#users.set(name, (this.#users.get(name) ?? 1) - 1);
    try {
      await this.make(layers);
      return { file: await open(this.#path(name), 'r'), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #path(name: string): string {
    return join(this.#folder, `${name}.erofs`);
  }

  async #remove(name: string): Promise<void> {
    this.#verified.delete(name);
    for (const path of [this.#path(name), `${this.#path(name)}.json`]) await rm(path, { force: true });
  }

  /** Its size without what makes it as large as all disks; in bytes. */
  async #make(name: string, layers: readonly string[]): Promise<number> {
    const found = this.#verified.get(name) ?? (await this.#verify(name));
    if (found !== null) return found;
    const folders = await this.#layers.folders(layers);
    const workshop = await mkdtemp(join(this.#folder, 'new-'));
    try {
      const image = join(workshop, 'image');
      await (await open(image, 'wx', 0o600)).close();
      await chown(image, LAYER_IDS.base, LAYER_IDS.base);
      await build(workshop, image, folders);
      await chown(image, 0, 0);
      const file = await open(image, 'r');
      const { digest, bytes } = await hashFile(file);
      await file.sync();
      await file.close();
      // Nothing is there behind its end: a hole, as large as no disk is.
      await truncate(image, DISK_BYTES);
      await writeFile(join(workshop, 'description'), JSON.stringify({ digest, bytes }), { flush: true });
      await rename(join(workshop, 'description'), `${this.#path(name)}.json`);
      await rename(image, this.#path(name));
      this.#verified.set(name, bytes);
      return bytes;
    } catch (error) {
      const { stderr, message } = error as Error & { stderr?: string };
      throw hostErrors.DISK_NOT_MADE((stderr || message).trim().slice(-500)).because(error);
    } finally {
      await rm(workshop, { recursive: true, force: true });
    }
  }

  /** Null when it is not there, or is not what it was; then it is gone. */
  async #verify(name: string): Promise<number | null> {
    const path = this.#path(name);
    const file = await open(path, 'r').catch(() => null);
    if (!file) return null;
    try {
      const { digest, bytes } = Description.parse(JSON.parse(await readFile(`${path}.json`, 'utf8')));
      const whole = {
        read: (buffer: Buffer, offset: number, length: number, at: number) =>
          file.read(buffer, offset, Math.min(length, bytes - at), at),
      };
      const { size } = await file.stat();
      if (size === DISK_BYTES && (await hashFile(whole as FileHandle)).digest === digest) {
        this.#verified.set(name, bytes);
        return bytes;
      }
    } catch {
      // It is made again.
    } finally {
      await file.close();
    }
    await this.#remove(name);
    return null;
  }
}

function nameOf(layers: readonly string[]): string {
  return createHash('sha256').update(layers.join('\n')).digest('hex');
}

async function build(workshop: string, image: string, layers: readonly string[]): Promise<void> {
  const merged = join(workshop, 'merged');
  const root = join(workshop, 'root');
  for (const folder of [merged, root]) await mkdir(folder);
  const system: string[] = [];
  // Some are links to others.
  for (const path of SYSTEM) {
    const real = await realpath(path).catch(() => null);
    if (real !== null) system.push('--bind-read-only', `${real}:${root}${path}`);
  }
  const arguments_ = [
    ...['--mount-namespace', '--root', merged, ...layers.flatMap((layer) => ['--lower', layer])],
    ...['--hide', root],
    ...system,
    ...['--bind-read-only', `${merged}:${root}/image`, '--bind', `${image}:${root}/disk`],
    ...['--user-namespace', `0:${LAYER_IDS.base}:${LAYER_IDS.count}`, '--chroot', root, '--directory', '/'],
    ...['--isolate', '--nice', '5'],
  ];
  await run(LAUNCHER, [...arguments_, '--', MKFS_EROFS, '--quiet', '/disk', '/image'], {
    timeout: MAKE_MS,
    killSignal: 'SIGKILL',
    env: { PATH: '/usr/bin:/bin' },
  });
}
