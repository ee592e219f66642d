/**
 * Cgroups of version 1, version 2, and both side by side, behind one interface.
 *
 * In TypeScript over the kernel's files, since these are text and node:fs reads and writes them on its thread pool: C++ would
 * add code and save nothing that can be measured beside what the kernel does. Only the eventfd of version 1 is C++.
 */
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asHostError, HostError } from '../host-error.ts';
import { codeOf, isGone, readText, write } from './files.ts';
import { Cgroup, useful } from './group.ts';
import { type CgroupLayout, layout } from './layout.ts';
import type { CgroupLimits, Unapplied } from './limits.ts';

/** What the kernel has done for a move lasts for longer, in milliseconds. */
const EXPECTED_EVERY_MS = 5;

/** The groups of a node, all below one. */
export class Cgroups {
  readonly layout: CgroupLayout;
  readonly #parent: string;

  private constructor(found: CgroupLayout, parent: string) {
    this.layout = found;
    this.#parent = parent;
  }

  /**
   * @param parent the path of the group that all are made in; made when it is missing. A service that systemd has
   * delegated its group to gives one below that (`layout.v2.own`).
   * @throws HostError ENOTSUP (no cgroups are mounted), EINVAL
   */
  static async open(parent = 'skerry', found?: CgroupLayout): Promise<Cgroups> {
    const there = found ?? (await layout());
    if (useful(there).length === 0) {
      const advice = 'mount cgroups: mount -t cgroup2 none /sys/fs/cgroup';
      throw new HostError({ code: 'ENOTSUP', syscall: 'open', path: '/sys/fs/cgroup', advice });
    }
    const parts = parent.split('/').filter((part) => part !== '');
    for (const part of parts) checkName(part);
    return new Cgroups(there, `/${parts.join('/')}`);
  }

  /**
   * Makes a group with these limits. What went wrong half-way leaves nothing behind.
   * @param name 1 to 200 letters, digits, `.`, `_` and `-`
   * @returns the group, and the limits that the kernel has no means for
   * @throws HostError EEXIST, EINVAL, EPERM, EACCES, EROFS, EBUSY (see its advice), ENOSPC
   */
  async create(name: string, limits: CgroupLimits): Promise<{ group: Cgroup; unapplied: readonly Unapplied[] }> {
    const group = this.get(name);
    const made: string[] = [];
    try {
      for (const folder of group.folders) {
        await this.#makeParent(dirname(folder));
        await makeFolder(folder);
        made.push(folder);
      }
      return { group, unapplied: await group.setLimits(limits) };
    } catch (error) {
      for (const folder of made) await rmdir(folder).catch(() => {});
      throw error;
    }
  }

  /** The group of this name, whether it is there or not. @throws HostError EINVAL */
  get(name: string): Cgroup {
    checkName(name);
    return new Cgroup(this.layout, join(this.#parent, name));
  }

  /** The names of all groups that are there, also those that a container runtime has made. */
  async list(): Promise<string[]> {
    const names = new Set<string>();
    for (const mount of new Set(this.layout.mounts)) {
      try {
        const entries = await readdir(join(mount, this.#parent), { withFileTypes: true });
        for (const entry of entries) if (entry.isDirectory()) names.add(entry.name);
      } catch (error) {
        if (!isGone(error)) throw asHostError(error, join(mount, this.#parent));
      }
    }
    return [...names].sort();
  }

  /**
   * For a process that is about to be moved into a group: the first move makes the kernel wait for all processors (an RCU grace
   * period, some 10 ms), those that come soon after find that done. It is done here meanwhile, by moving this process to where
   * it is. Never rejects.
   * @param moved settles when there is nothing to wait for any more
   */
  async expectMove(moved: Promise<unknown>): Promise<void> {
    const { own } = this.layout;
    if (own === null) return;
    let over = false;
    const end = () => {
      over = true;
    };
    moved.then(end, end);
    // Where that is not allowed, the move takes its time.
    const moveNowhere = () =>
      write(join(own, 'cgroup.procs'), '0').then(
        () => true,
        () => false,
      );
    while (!over && (await moveNowhere())) await sleep(EXPECTED_EVERY_MS);
  }

  /** In version 2 a group has the controllers that each group above it passes on. */
  async #makeParent(parent: string): Promise<void> {
    try {
      await mkdir(parent, { recursive: true });
    } catch (error) {
      throw asHostError(error, parent);
    }
    const { v2 } = this.layout;
    if (v2 === null || !parent.startsWith(v2.mount)) return;
    const parts = this.#parent.split('/').filter((part) => part !== '');
    for (let depth = 0; depth <= parts.length; depth++) await this.#passOn(join(v2.mount, ...parts.slice(0, depth)));
  }

  async #passOn(folder: string): Promise<void> {
    const passed = (await readText(join(folder, 'cgroup.subtree_control'))).trim().split(/\s+/);
    const there = (await readText(join(folder, 'cgroup.controllers'))).trim().split(/\s+/);
    for (const name of this.layout.v2?.controllers ?? []) {
      // One that is not there shows as a limit that is not applied.
      if (passed.includes(name) || !there.includes(name)) continue;
      try {
        await write(join(folder, 'cgroup.subtree_control'), `+${name}`);
      } catch (error) {
        if (codeOf(error) !== 'EBUSY') throw error;
        const advice =
          'move the processes of this group into one below it: a group of version 2 has either processes or groups with limits';
        throw new HostError({ code: 'EBUSY', syscall: 'write', path: folder, advice, cause: error });
      }
    }
  }
}

function checkName(name: string): void {
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(name)) return;
  const advice = 'give 1 to 200 letters, digits, ".", "_" and "-", and not "." or "-" first';
  throw new HostError({ code: 'EINVAL', syscall: 'mkdir', path: name, advice });
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    throw asHostError(error, folder);
  }
}
