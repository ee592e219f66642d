import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { chmod, lchown, mkdir, open, readdir, readFile, realpath, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { SkerryError } from '../errors/skerry-error.ts';
import { syncFolder } from '../images/store/index.ts';
import { lockFolder } from './data-folder-lock.ts';
import { daemonErrors } from './errors.ts';
import { giveContents, keepRootsOwn, nodeUser } from './hostd/node-user.ts';

/** The folder that holds everything a node keeps. One node at a time. */
export interface DataFolder {
  /** Absolute, symbolic links resolved. */
  readonly path: string;
  /** 32 random bytes of this node, made once: what it wrote is authenticated with keys derived from it. */
  readonly nodeKey: Uint8Array;
  /** Removes `skerry.pid` and lets the next node in. Idempotent. */
  close(): Promise<void>;
  /** For a start that failed: closes it, and takes away what `openDataFolder` had to make; what was there stays. */
  discard(): Promise<void>;
}

/** Of the folder's layout; the state store has a schema version of its own. */
const layoutVersion = 1;
const nodeKeyBytes = 32;
const versionFile = (path: string) => join(path, 'version');

/**
 * Makes the data folder (mode 0700) or takes over an existing one. Throws DATA_IN_USE, DATA_NOT_A_FOLDER,
 * DATA_NOT_WRITABLE, DATA_NOT_OURS, DATA_NEWER, DATA_DAMAGED, DATA_DISK_FULL.
 */
export async function openDataFolder(folder: string): Promise<DataFolder> {
  try {
    const { found, made } = await makeFolder(folder);
    const path = await realpath(folder);
    const lock = await lockFolder(path, found);
    try {
      await closeToOthers(path, found);
      if (!(await checkVersion(path))) await writeWhole(versionFile(path), Buffer.from(`${layoutVersion}\n`));
      const nodeKey = await readNodeKey(path);
      const pidFile = join(path, 'skerry.pid');
      await writeWhole(pidFile, Buffer.from(`${process.pid}\n`));
      let closing: Promise<void> | undefined;
      const close = () => {
        closing ??= rm(pidFile, { force: true }).finally(() => lock.release());
        return closing;
      };
      const discard = async () => {
        if (made.length > 0) await removeContents(path, true);
        await close();
        await removeEmpty(made);
      };
      return { path, nodeKey, close, discard };
    } catch (error) {
      await lock.release();
      throw error;
    }
  } catch (error) {
    throw explain(folder, error);
  }
}

/** A data folder that was made ready for a node that runs as another user. */
export interface GivenFolder {
  /** Absolute, symbolic links resolved. */
  readonly path: string;
  /** Whom what is in it belongs to. */
  readonly user: number;
  /** For a node that never came up: takes away what was made. The node has ended. */
  discard(): Promise<void>;
}

/**
 * For root: makes the data folder, or takes over an existing one, and gives what is in it to the user that its node runs as.
 * Throws what `openDataFolder` does, and DATA_OTHERS_IN_IT.
 */
export async function giveDataFolder(folder: string): Promise<GivenFolder> {
  try {
    const { found, made } = await makeFolder(folder);
    const path = await realpath(folder);
    const user = nodeUser(path);
    // From no node that runs.
    const lock = await lockFolder(path, found);
    try {
      if (!isGiven(found, user)) {
        await closeToOthers(path, found);
        if (!(await checkVersion(path))) await checkIsForNode(path);
        await giveContents(path, user);
        // Last: a crash before is made good by the next start.
        await lchown(path, 0, user);
        await chmod(path, GIVEN);
      }
      await keepRootsOwn(path);
    } finally {
      await lock.release();
    }
    const discard = async () => {
      if (made.length > 0) await removeContents(path, false);
      await removeEmpty(made);
    };
    return { path, user, discard };
  } catch (error) {
    throw explain(folder, error);
  }
}

/** A folder with more than a file or two in it that is no node's was not meant for one. */
async function checkIsForNode(path: string): Promise<void> {
  const inside = await readdir(path, { withFileTypes: true });
  const other = inside.find((entry) => entry.name.startsWith('.') || !(entry.isFile() || entry.name === 'node.lock'));
  if (other) throw daemonErrors.DATA_OTHERS_IN_IT(path, other.name);
}

/**
 * Of a folder that root gave: its own user's, whose number the group has, to make files in. Nobody takes away or renames
 * what is another's (the sticky bit).
 */
const GIVEN = 0o1770;

function isGiven({ uid, gid, mode }: Stats, user: number): boolean {
  return uid === 0 && gid === user && (mode & 0o7777) === GIVEN;
}

/** Closes a folder that is new or a node's; one that holds other things is somebody else's to open or close. */
async function closeToOthers(path: string, found: Stats): Promise<void> {
  if ((found.mode & 0o077) === 0 || isGiven(found, process.getegid!())) return;
  const inside = await readdir(path);
  const ours = inside.includes('version') || inside.every((name) => name === 'node.lock');
  if (!ours) throw daemonErrors.DATA_OPEN_TO_OTHERS(path);
  await chmod(path, 0o700);
}

/**
 * Makes the missing folders one by one: Node's own `recursive` never returns below a file system like /proc. Returns
 * those it made, the outermost first.
 */
async function makeFolders(folder: string): Promise<string[]> {
  const made: string[] = [];
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return [];
    const parent = dirname(folder);
    if (code !== 'ENOENT' || parent === folder) throw error;
    const above = await stat(parent).catch(() => null);
    if (above) throw error;
    made.push(...(await makeFolders(parent)));
    await mkdir(folder, { mode: 0o700 });
  }
  await syncFolder(dirname(folder));
  return [...made, folder];
}

/** `locked`: the lock stays, so that no other node comes in before all is gone. */
async function removeContents(path: string, locked: boolean): Promise<void> {
  for (const name of await readdir(path)) {
    if (!locked || name !== 'node.lock') await rm(join(path, name), { recursive: true, force: true });
  }
}

/** From the innermost outwards, up to one that another node or anyone else has put something into. */
async function removeEmpty(folders: readonly string[]): Promise<void> {
  try {
    for (const folder of folders.toReversed()) await rmdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error;
  }
}

async function makeFolder(folder: string): Promise<{ found: Stats; made: readonly string[] }> {
  const made = await makeFolders(resolve(folder));
  const found = await stat(folder);
  if (!found.isDirectory()) throw daemonErrors.DATA_NOT_A_FOLDER(folder);
  const user = process.geteuid!();
  if (found.uid !== user && !isGiven(found, process.getegid!())) {
    throw daemonErrors.DATA_NOT_OURS(folder, found.uid, user);
  }
  return { found, made };
}

/** False when the folder has none: it is no node's yet. */
async function checkVersion(path: string): Promise<boolean> {
  const file = versionFile(path);
  const text = await readIfThere(file);
  if (text === null) return false;
  if (!/^[1-9][0-9]{0,8}\n$/.test(text.toString())) throw daemonErrors.DATA_DAMAGED(file, 'it does not hold a version');
  const version = Number(text.toString());
  if (version > layoutVersion) throw daemonErrors.DATA_NEWER(path, version, layoutVersion);
  return true;
}

/** Never made anew when one is there: what was sealed with it would be lost. */
async function readNodeKey(path: string): Promise<Uint8Array> {
  const file = join(path, 'node.key');
  const found = await readIfThere(file);
  if (found === null) {
    const key = randomBytes(nodeKeyBytes);
    await writeWhole(file, key);
    return key;
  }
  if (found.length !== nodeKeyBytes)
    throw daemonErrors.DATA_DAMAGED(file, `it has ${found.length} bytes instead of ${nodeKeyBytes}`);
  return found;
}

async function readIfThere(file: string): Promise<Buffer | null> {
  try {
    return await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** A reader sees the old content or the new one, never a part, also after a power cut. Mode 0600. */
async function writeWhole(file: string, content: Uint8Array): Promise<void> {
  const incoming = `${file}.new`;
  const handle = await open(incoming, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(incoming, file);
  await syncFolder(dirname(file));
}

const noRoom = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function explain(folder: string, error: unknown): SkerryError {
  if (error instanceof SkerryError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code === 'EEXIST' || code === 'ENOTDIR') return daemonErrors.DATA_NOT_A_FOLDER(folder).because(error);
  if (noRoom.has(code)) return daemonErrors.DATA_DISK_FULL(folder).because(error);
  return daemonErrors.DATA_NOT_WRITABLE(folder, code || message).because(error);
}
