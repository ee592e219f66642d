/** Whom the node runs as when root starts it, and how that user gets at what it needs. */
import { createHash } from 'node:crypto';
import { lchown, lstat, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Above the users of containers (`ids.ts`), below 2^31. */
const FIRST = 0x7fc0_0000;
const COUNT = 0x40_0000;

/** Users and groups have the same numbers. A node's own, so that two on one machine cannot touch each other. */
export function nodeUser(dataFolder: string): number {
  return FIRST + (createHash('sha256').update(dataFolder).digest().readUInt32BE() % COUNT);
}

/** Folders in the data folder that stay root's: their files belong to the users of containers. */
const ROOTS_OWN = ['builds', 'layers', 'machines', 'volumes'];

/** Gives all that is in a data folder to `user`. No link is followed. */
export async function giveContents(folder: string, user: number): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!ROOTS_OWN.includes(entry.name)) await give(join(folder, entry.name), entry.isDirectory(), user);
  }
}

async function give(path: string, isFolder: boolean, user: number): Promise<void> {
  if (isFolder) {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      await give(join(path, entry.name), entry.isDirectory(), user);
    }
  }
  await lchown(path, user, user);
}

/** Makes them before the node can put something of its own into their place; what it did put there is removed. */
export async function keepRootsOwn(folder: string): Promise<void> {
  for (const name of ROOTS_OWN) {
    const path = join(folder, name);
    const found = await lstat(path).catch(() => null);
    if (found?.isDirectory() && found.uid === 0) continue;
    await rm(path, { recursive: true, force: true });
    await mkdir(path, { mode: 0o700 });
  }
}

export interface Needs {
  /** Read and written; its own. */
  readonly data: string;
  /** Read: the installation, and the program that runs it. */
  readonly read: readonly string[];
}

/** How the launcher lets a user get at what it needs, past folders that are closed to it. */
export interface Access {
  readonly arguments: readonly string[];
  /** Of `read`, those that stay closed to it when ids cannot be mapped here. */
  readonly mapped: readonly string[];
}

/**
 * Where a folder on the way is closed to others, an empty one in memory covers it, in which only what is needed is to be
 * seen. Where files themselves are closed, they are shown with their owner's number exchanged for the user's, to be read only.
 */
export async function accessFor(user: number, { data, read }: Needs): Promise<Access> {
  const hidden = new Set<string>();
  for (const path of [data, ...read]) {
    const closed = await outermostClosed(dirname(path));
    if (closed !== null) hidden.add(closed);
  }
  const below = (path: string) => [...hidden].some((folder) => path.startsWith(`${folder}/`));
  const outermost = [...hidden].filter((folder) => !below(folder));
  const mapped: string[] = [];
  for (const path of read) if (!(await isOpen(path))) mapped.push(path);
  if (outermost.length === 0 && mapped.length === 0) return { arguments: [], mapped };
  const shown = read.filter((path) => below(path) || mapped.includes(path));
  const result = ['--mount-namespace', ...outermost.flatMap((folder) => ['--hide', folder])];
  if (mapped.length > 0) result.push('--idmap', `${(await stat(mapped[0]!)).uid}:${user}:1`);
  // The data folder may be in one of them: it comes over it.
  for (const path of shown) result.push('--show-read-only', path);
  return { arguments: [...result, '--show', data], mapped };
}

/** The folder nearest to the root, of this one and those above, that others cannot pass through. */
async function outermostClosed(folder: string): Promise<string | null> {
  const above = dirname(folder);
  const found = above === folder ? null : await outermostClosed(above);
  if (found !== null) return found;
  return ((await stat(folder)).mode & 0o001) === 0 ? folder : null;
}

/** Whether others may read a file; of a folder, a sample of what a clone with a strict umask closes. */
async function isOpen(path: string): Promise<boolean> {
  const found = await stat(path);
  const needed = found.isDirectory() ? 0o005 : 0o004;
  if ((found.mode & needed) !== needed) return false;
  if (!found.isDirectory()) return true;
  const inside = await readdir(path);
  const states = await Promise.all(inside.map((name) => stat(join(path, name)).catch(() => null)));
  return states.every((state) => state === null || (state.mode & 0o004) !== 0);
}
