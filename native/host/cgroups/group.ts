/** One cgroup: a folder of the same path in each hierarchy that has a controller of use. */
import { watch } from 'node:fs';
import { join } from 'node:path';
import { call } from '../binding.ts';
import { closeFd, events, waitFor } from '../descriptors.ts';
import { asHostError, HostError } from '../host-error.ts';
import {
  codeOf,
  isGone,
  pidsOf,
  readIfThere,
  readKey,
  readNumber,
  removeTree,
  tree,
  until,
  write,
  writeIfThere,
} from './files.ts';
import type { CgroupLayout, Controller } from './layout.ts';
import { type CgroupLimits, checkLimits, type Place, type Unapplied, writers } from './limits.ts';

/** Each is null where the kernel has no controller for it. */
export interface CgroupUsage {
  /** CPU time since the group was made, in microseconds. */
  readonly cpuUs: number | null;
  /** Bytes of memory now, page cache included. */
  readonly memoryBytes: number | null;
  /** Processes and threads now. */
  readonly pids: number | null;
}

/** The share of time in which something (`some`) or everything (`full`) waited, see PSI in the kernel's documentation. */
export interface PressureFigures {
  /** Percent of the last 10, 60 and 300 seconds. */
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  /** Microseconds since the group was made. */
  readonly totalUs: number;
}

export interface Pressure {
  readonly some: PressureFigures;
  readonly full: PressureFigures | null;
}

/** The controller that each limit belongs to; of version 2 first where the name differs. */
const CONTROLLERS: Record<keyof CgroupLimits, readonly Controller[]> = {
  memoryBytes: ['memory'],
  cpuMillicores: ['cpu'],
  cpuWeight: ['cpu'],
  pids: ['pids'],
  ioWeight: ['io', 'blkio'],
};

/** How long after the eventfd of version 1 the kill may be counted, in milliseconds. */
const COUNT_MS = 250;

export class Cgroup {
  /** Below the root of each hierarchy: "/skerry/NAME", as OCI's cgroupsPath has it. */
  readonly path: string;
  readonly #layout: CgroupLayout;

  constructor(layout: CgroupLayout, path: string) {
    this.#layout = layout;
    this.path = path;
  }

  /** A process joins by writing its pid into `cgroup.procs` of each of these. */
  get folders(): readonly string[] {
    return useful(this.#layout).map((mount) => join(mount, this.path));
  }

  /** Moves a process, with all its threads, into the group. @throws HostError ESRCH, EAGAIN (pids), ENOENT */
  async add(pid: number): Promise<void> {
    for (const folder of this.folders) await write(join(folder, 'cgroup.procs'), String(pid));
  }

  /**
   * Sets the limits that are given and leaves the others.
   * @returns those that the kernel has no means for; who must have them must look
   * @throws HostError EINVAL, ENOENT (the group is gone), EBUSY (version 1: more memory is in use than the new limit)
   */
  async setLimits(limits: CgroupLimits): Promise<readonly Unapplied[]> {
    checkLimits(limits);
    await this.#mustExist();
    const unapplied: Unapplied[] = [];
    for (const name of Object.keys(writers) as (keyof CgroupLimits)[]) {
      const value = limits[name];
      if (value === undefined) continue;
      const place = this.#place(...CONTROLLERS[name]);
      const done = place !== null && (await writers[name](place, value));
      if (done !== true) unapplied.push(done === false ? name : done);
    }
    return unapplied;
  }

  /** Resolves when nothing in the group runs any more. @throws HostError ENOENT, ENOTSUP, ETIMEDOUT (then it is thawed) */
  async freeze(): Promise<void> {
    try {
      await this.#setFrozen(true);
    } catch (error) {
      await this.#setFrozen(false).catch(() => {});
      throw error;
    }
  }

  /** Resolves when everything in the group may run again. @throws HostError ENOENT, ENOTSUP, ETIMEDOUT */
  thaw(): Promise<void> {
    return this.#setFrozen(false);
  }

  /**
   * Kills every process in the group and below it, frozen or not, however fast they make others; resolves when there is
   * none left. Nothing happens when the group is not there.
   * @throws HostError ETIMEDOUT
   */
  async kill(): Promise<void> {
    const { version, folder } = this.#freezer();
    if (version === 2 && (await writeIfThere(join(folder, 'cgroup.kill'), '1'))) {
      const populated = async () => (await readKey(join(folder, 'cgroup.events'), 'populated')) === 1;
      return until(async () => !(await populated()), 'kill', folder);
    }
    await until(
      async () => {
        if ((await pidsOf(folder)).length === 0) return true;
        try {
          // While they are frozen they make no others, and none of these numbers can become another process's. One that
          // waits for a device does not freeze: it is killed all the same.
          await this.#setFrozen(true).catch((error) => {
            if (codeOf(error) !== 'ETIMEDOUT') throw error;
          });
          for (const pid of await pidsOf(folder)) signal(pid);
        } catch (error) {
          if (!isGone(error)) throw error;
        } finally {
          // A kill takes effect when they thaw.
          for (const each of await tree(folder)) await thawWithoutWaiting(version, each);
        }
        return false;
      },
      'kill',
      folder,
    );
  }

  /**
   * Removes the group and all below it, in every hierarchy, once they are empty. Nothing happens when it is not there.
   * @throws HostError ETIMEDOUT: something runs in it still
   */
  async remove(): Promise<void> {
    // In all, since a container runtime makes it in hierarchies that are of no use here.
    for (const mount of new Set(this.#layout.mounts)) await removeTree(join(mount, this.path));
  }

  /** Numbers of the processes in the group and below it, as they are at this moment; none when it is not there. */
  async processes(): Promise<number[]> {
    return pidsOf(this.#freezer().folder);
  }

  /** @throws HostError ENOENT (the group is gone) */
  async usage(): Promise<CgroupUsage> {
    await this.#mustExist();
    const [cpu, memory, pids] = [this.#place('cpuacct', 'cpu'), this.#place('memory'), this.#place('pids')];
    const memoryFile = memory?.version === 2 ? 'memory.current' : 'memory.usage_in_bytes';
    const [cpuUs, memoryBytes, count] = await Promise.all([
      cpu === null ? null : cpuTime(cpu),
      memory === null ? null : readNumber(join(memory.folder, memoryFile)),
      pids === null ? null : readNumber(join(pids.folder, 'pids.current')),
    ]);
    return { cpuUs, memoryBytes, pids: count };
  }

  /** Processes of the group that the kernel has killed since memory ran out; null where it does not count them. */
  async oomKills(): Promise<number | null> {
    const place = this.#place('memory');
    if (place === null) return null;
    return readKey(join(place.folder, place.version === 2 ? 'memory.events' : 'memory.oom_control'), 'oom_kill');
  }

  /** Null where the kernel has none: version 1 never has, version 2 may have it turned off. */
  async pressure(resource: 'cpu' | 'memory' | 'io'): Promise<Pressure | null> {
    const { v2 } = this.#layout;
    if (v2 === null || (resource === 'memory' && this.#place('memory')?.version === 1)) return null;
    const text = await readIfThere(join(v2.mount, this.path, `${resource}.pressure`));
    const some = text === null ? null : pressureLine(text, 'some');
    return text === null || some === null ? null : { some, full: pressureLine(text, 'full') };
  }

  /**
   * Calls back with the number of OOM kills in the group so far whenever it has grown; does not keep the process alive.
   * @returns stops it; it stops by itself when the group is removed
   * @throws HostError ENOENT, ENOTSUP (the kernel has no memory controller)
   */
  async watchOom(onKills: (kills: number) => void): Promise<() => Promise<void>> {
    const place = this.#place('memory');
    if (place === null) throw new HostError({ code: 'ENOTSUP', syscall: 'watch', path: this.path });
    let seen = (await this.oomKills()) ?? 0;
    const look = async (): Promise<boolean> => {
      const kills = (await this.oomKills().catch(() => null)) ?? 0;
      const grown = kills > seen;
      if (grown) {
        seen = kills;
        onKills(kills);
      }
      return grown;
    };
    return place.version === 2 ? watchFile(join(place.folder, 'memory.events'), look) : watchEvents(place.folder, look);
  }

  /** The place of the first of these controllers that there is. */
  #place(...names: readonly Controller[]): Place | null {
    const { v1, v2 } = this.#layout;
    for (const name of names) {
      const mount = v1.get(name);
      if (mount !== undefined) return { version: 1, folder: join(mount, this.path) };
      if (v2?.controllers.includes(name)) return { version: 2, folder: join(v2.mount, this.path) };
    }
    return null;
  }

  /** In version 2 freezing is not a controller's: every group has it. @throws HostError ENOTSUP */
  #freezer(): Place {
    const { v2 } = this.#layout;
    const place = this.#place('freezer') ?? (v2 === null ? null : { version: 2, folder: join(v2.mount, this.path) });
    if (place === null) throw new HostError({ code: 'ENOTSUP', syscall: 'freeze', path: this.path });
    return place;
  }

  async #setFrozen(frozen: boolean): Promise<void> {
    const { version, folder } = this.#freezer();
    if (version === 2) {
      await write(join(folder, 'cgroup.freeze'), frozen ? '1' : '0');
      const settled = async () => (await readKey(join(folder, 'cgroup.events'), 'frozen')) === (frozen ? 1 : 0);
      return until(settled, frozen ? 'freeze' : 'thaw', folder);
    }
    const file = join(folder, 'freezer.state');
    const wanted = frozen ? 'FROZEN' : 'THAWED';
    // FREEZING can stay for ever; saying it again makes the kernel look at those that came meanwhile.
    const settled = async () => {
      await write(file, wanted);
      return (await readIfThere(file))?.trim() === wanted;
    };
    return until(settled, frozen ? 'freeze' : 'thaw', folder);
  }

  async #mustExist(): Promise<void> {
    const [folder] = this.folders;
    if (folder === undefined) throw new HostError({ code: 'ENOTSUP', syscall: 'open', path: this.path });
    if ((await tree(folder)).length === 0) throw new HostError({ code: 'ENOENT', syscall: 'open', path: folder });
  }
}

/** The mount points of the hierarchies that a group is made in. */
export function useful({ v1, v2 }: CgroupLayout): string[] {
  const mounts = new Set(v1.values());
  // Beside version 1 it is left out when it has nothing to offer: who puts processes into groups leaves it out too.
  if (v2 !== null && (v2.controllers.length > 0 || !v1.has('freezer'))) mounts.add(v2.mount);
  return [...mounts];
}

async function cpuTime({ version, folder }: Place): Promise<number | null> {
  if (version === 2) return readKey(join(folder, 'cpu.stat'), 'usage_usec');
  const ns = await readNumber(join(folder, 'cpuacct.usage'));
  return ns === null ? null : Math.round(ns / 1000);
}

function pressureLine(text: string, kind: 'some' | 'full'): PressureFigures | null {
  const found = new RegExp(`^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)$`, 'm').exec(text);
  if (found === null) return null;
  const [avg10, avg60, avg300, totalUs] = found.slice(1).map(Number) as [number, number, number, number];
  return { avg10, avg60, avg300, totalUs };
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw asHostError(error, String(pid));
  }
}

async function thawWithoutWaiting(version: 1 | 2, folder: string): Promise<void> {
  if (version === 2) await writeIfThere(join(folder, 'cgroup.freeze'), '0');
  else await writeIfThere(join(folder, 'freezer.state'), 'THAWED');
}

/** Version 2: the kernel tells of a change of the file by inotify. */
async function watchFile(file: string, look: () => Promise<boolean>): Promise<() => Promise<void>> {
  try {
    const watcher = watch(file, { persistent: false }, () => void look());
    watcher.on('error', () => watcher.close());
    // What came between the first look and the watch.
    await look();
    return async () => watcher.close();
  } catch (error) {
    throw asHostError(error, file);
  }
}

/** Version 1: the kernel tells of an OOM by an eventfd, before the kill is counted. */
async function watchEvents(folder: string, look: () => Promise<boolean>): Promise<() => Promise<void>> {
  const fd = await call((host) => host.oomEvents(folder));
  const stopping = new AbortController();
  const { signal } = stopping;
  const work = async () => {
    while (!signal.aborted && (await waitFor(fd, events.readable, { signal, ref: false })) !== 0) {
      await call((host) => host.drainEvents(fd));
      const end = performance.now() + COUNT_MS;
      const counted = async () => (await look()) || signal.aborted || performance.now() > end;
      await until(counted, 'read', folder);
      // The removal of the group is told in the same way.
      if ((await tree(folder)).length === 0) return;
    }
  };
  const done = work().finally(() => closeFd(fd));
  // Nothing of it is a failure of the caller's.
  done.catch(() => {});
  return async () => {
    stopping.abort();
    await done.catch(() => {});
  };
}
