/** The files of a cgroup. */
import { readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asHostError, HostError } from '../host-error.ts';

/** For what the kernel does in its own time (freezing, ending), in milliseconds. */
export const SETTLE_MS = 5000;
const POLL_MS = 1;

export const codeOf = (error: unknown) => (error as { code?: string } | null)?.code;

/** Missing, or of a group that was removed while its file was open. */
export const isGone = (error: unknown) => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENODEV';

export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw asHostError(error, path);
  }
}

/** What a file says, or null where this kernel, or this group, does not have it. */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readText(path);
  } catch (error) {
    // EOPNOTSUPP: pressure that was turned off at boot.
    if (isGone(error) || codeOf(error) === 'EOPNOTSUPP' || codeOf(error) === 'ENOTSUP') return null;
    throw error;
  }
}

export async function write(path: string, text: string): Promise<void> {
  try {
    // Not `w`: that would ask for the file to be made when it is not there, which is refused with another error.
    await writeFile(path, text, { flag: 'r+' });
  } catch (error) {
    throw asHostError(error, path);
  }
}

/** True when it was written, false where there is no such file. */
export async function writeIfThere(path: string, text: string): Promise<boolean> {
  try {
    await write(path, text);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** The value of a key in a file of lines `key value`; null when it is not there. */
export async function readKey(path: string, key: string): Promise<number | null> {
  const found = new RegExp(`^${key} (\\d+)$`, 'm').exec((await readIfThere(path)) ?? '');
  return found ? Number(found[1]) : null;
}

export async function readNumber(path: string): Promise<number | null> {
  const text = await readIfThere(path);
  return text === null ? null : Number(text);
}

/** Looks again until `done`. @throws HostError ETIMEDOUT */
export async function until(done: () => Promise<boolean>, what: string, path: string): Promise<void> {
  const end = performance.now() + SETTLE_MS;
  while (!(await done())) {
    if (performance.now() > end) {
      const advice = `look with ps what state its processes are in: one that waits for a device (D) holds it up`;
      throw new HostError({ code: 'ETIMEDOUT', syscall: what, path, advice });
    }
    await sleep(POLL_MS);
  }
}

/** A group and all below it, the outermost first. Empty when it is not there. */
export async function tree(folder: string): Promise<string[]> {
  let entries: import('node:fs').Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (isGone(error)) return [];
    throw asHostError(error, folder);
  }
  const below = entries.filter((entry) => entry.isDirectory()).map((entry) => tree(join(folder, entry.name)));
  return [folder, ...(await Promise.all(below)).flat()];
}

/** The processes in a group and all below it. */
export async function pidsOf(folder: string): Promise<number[]> {
  const texts = await Promise.all((await tree(folder)).map((each) => readIfThere(join(each, 'cgroup.procs'))));
  const pids = texts.flatMap((text) => (text ?? '').split('\n')).map(Number);
  // 0 is a process of another pid namespace; to signal it would be to signal our own process group.
  return pids.filter((pid) => pid > 0 && pid !== process.pid);
}

/** Removes a group with all below it, once they are empty. Nothing happens when it is not there. @throws HostError ETIMEDOUT */
export async function removeTree(folder: string): Promise<void> {
  // The innermost first.
  for (const each of (await tree(folder)).reverse()) {
    await until(
      async () => {
        try {
          await rmdir(each);
          return true;
        } catch (error) {
          if (isGone(error)) return true;
          // Its processes have ended, and are not all accounted for yet.
          if (codeOf(error) === 'EBUSY') return false;
          throw asHostError(error, each);
        }
      },
      'rmdir',
      each,
    );
  }
}
