/** Which cgroup hierarchies there are on this machine, found by looking. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { asHostError } from '../host-error.ts';

/** The controllers that this folder has a use for. `cpuacct`, `blkio` and `freezer` are of version 1 only. */
const CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids', 'blkio', 'io', 'freezer'] as const;
export type Controller = (typeof CONTROLLERS)[number];

export interface CgroupLayout {
  /** `hybrid`: both versions are mounted, whatever controllers each has. */
  readonly mode: 'v1' | 'v2' | 'hybrid' | 'none';
  /** Mount points of version 1, by controller. */
  readonly v1: ReadonlyMap<Controller, string>;
  readonly v2: {
    readonly mount: string;
    /** Those that version 1 does not have. */
    readonly controllers: readonly Controller[];
    /** The group that this process is in, below the mount point: "/system.slice/skerry.service". */
    readonly own: string;
  } | null;
  /** Folder of the group that this process is in, in one of the hierarchies; null where it is in none of use. */
  readonly own: string | null;
  /** Mount points of all hierarchies, those of other controllers too. */
  readonly mounts: readonly string[];
}

/** What the kernel says, as text. */
export interface LayoutSources {
  /** /proc/self/mountinfo */
  readonly mountinfo: string;
  /** /proc/self/cgroup */
  readonly membership: string;
  /** cgroup.controllers at a mount point of version 2. */
  controllers(mount: string): Promise<string>;
}

const fromKernel = async (): Promise<LayoutSources> => ({
  mountinfo: await readFile('/proc/self/mountinfo', 'utf8'),
  membership: await readFile('/proc/self/cgroup', 'utf8'),
  controllers: (mount) => readFile(join(mount, 'cgroup.controllers'), 'utf8'),
});

const isController = (name: string): name is Controller => (CONTROLLERS as readonly string[]).includes(name);

/** Spaces and the like are written in octal. */
const unescaped = (path: string) =>
  path.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));

/** @throws HostError ENOENT (/proc is not mounted) */
export async function layout(sources?: LayoutSources): Promise<CgroupLayout> {
  try {
    return await read(sources ?? (await fromKernel()));
  } catch (error) {
    throw asHostError(error);
  }
}

async function read({ mountinfo, membership, controllers }: LayoutSources): Promise<CgroupLayout> {
  const v1 = new Map<Controller, string>();
  const mounts: string[] = [];
  let unified: { mount: string; root: string } | undefined;
  let own: string | null = null;
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ');
    if (left === undefined || right === undefined) continue;
    const [, , , root = '', mount = ''] = left.split(' ').map(unescaped);
    const [type, , options = ''] = right.split(' ');
    if (type !== 'cgroup' && type !== 'cgroup2') continue;
    mounts.push(mount);
    if (type === 'cgroup2') unified ??= { mount, root };
    else {
      for (const name of options.split(',')) {
        if (!isController(name) || v1.has(name)) continue;
        v1.set(name, mount);
        own ??= resolve(mount, `.${below(root, groupOf(membership, name))}`);
      }
    }
  }
  let v2: CgroupLayout['v2'] = null;
  if (unified !== undefined) {
    const there = (await controllers(unified.mount)).trim().split(/\s+/);
    const { mount, root } = unified;
    v2 = {
      mount,
      controllers: there.filter(isController).filter((name) => !v1.has(name)),
      own: below(root, groupOf(membership, '')),
    };
    own ??= resolve(mount, `.${v2.own}`);
  }
  const mode = v1.size > 0 ? (v2 === null ? 'v1' : 'hybrid') : v2 === null ? 'none' : 'v2';
  return { mode, v1, v2, own, mounts };
}

/** By /proc/self/cgroup: the group in the hierarchy of a controller of version 1, or of version 2 (none). */
function groupOf(membership: string, controller: string): string {
  for (const line of membership.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path !== undefined && controllers?.split(',').includes(controller)) return path;
  }
  return '/';
}

/** Where a part of the hierarchy is mounted, what this process is in is below that part. */
function below(root: string, group: string): string {
  const inside = root !== '/' && (group === root || group.startsWith(`${root}/`)) ? group.slice(root.length) : group;
  return inside === '' ? '/' : inside;
}
