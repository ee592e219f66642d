/** What the containers of a node hold of the kernel's things, so that before and after can be compared. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { Cgroups } from '../../native/host/index.ts';
import { openFiles } from '../../test/support/host-suite.ts';

/** Where a link leads that is no pipe and no socket. */
const NAMESPACE = /^(cgroup|ipc|mnt|net|pid|time|user|uts):\[/;

export interface Holdings {
  /** What runs in containers, and what keeps them. */
  readonly processes: number;
  /** Below the folder of containers. */
  readonly mounts: number;
  /** Of these processes, and those that this process has open. */
  readonly namespaces: number;
  readonly groups: number;
  /** Open files of this process. */
  readonly descriptors: number;
}

/** Others use the machine too: what is not of containers in `folder` whose ids begin with `prefix` is not counted. */
export async function holdings(folder: string, prefix: string): Promise<Holdings> {
  const descriptors = await openFiles();
  const groups = (await (await Cgroups.open()).list()).filter((name) => name.startsWith(prefix));
  const mounts = (await textOf('/proc/self/mountinfo')).split('\n').filter((line) => line.includes(folder));
  const processes = await processesNaming(folder, `/${prefix}`);
  const namespaces = await Promise.all([
    ...processes.map((pid) => linksIn(`/proc/${pid}/ns`)),
    linksIn('/proc/self/fd').then((links) => links.filter((link) => NAMESPACE.test(link))),
  ]);
  return {
    processes: processes.length,
    mounts: mounts.length,
    namespaces: new Set(namespaces.flat()).size,
    groups: groups.length,
    descriptors,
  };
}

/** Others than this one whose command has `text` in it, or that are in a group whose path has `group` in it. */
export async function processesNaming(text: string, group?: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) continue;
    const named = (await textOf(`/proc/${pid}/cmdline`)).includes(text);
    if (named || (group !== undefined && (await textOf(`/proc/${pid}/cgroup`)).includes(group))) found.push(pid);
  }
  return found;
}

/** Empty when it has ended meanwhile. */
const textOf = (path: string) => readFile(path, 'utf8').catch(() => '');

async function linksIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => '')));
}
