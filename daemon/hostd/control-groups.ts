/**
 * Control groups of containers over the kernel's files, for version 1, version 2 and both side by side. The container
 * runtime makes the groups and sets their limits; here they are frozen, counted, emptied and removed.
 */
import { readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerUsage } from '../../runtime/drivers/container/host.ts';

/** The control group of one container. */
export interface ContainerGroup {
  /** Below the root of each hierarchy, as the runtime is told it. */
  readonly path: string;
  /** Resolves when nothing of it runs any more. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Ends all its processes; resolves when there are none. Nothing happens when it is not there. */
  kill(): Promise<void>;
  usage(): Promise<ContainerUsage>;
  /** Processes that the kernel ended because the group had no memory left. */
  outOfMemoryKills(): Promise<number>;
  /** Nothing happens when it is not there. */
  remove(): Promise<void>;
}

export interface ControlGroups {
  readonly version: 1 | 2;
  group(id: string): ContainerGroup;
  /** Mounts that the container runtime does not get along with. */
  readonly unmounts: readonly string[];
}

/** Where the kernel's files are, found by looking at `/proc/self/mountinfo`. */
export interface Hierarchies {
  /** Controllers of version 1 to their mount points. */
  readonly v1: ReadonlyMap<string, string>;
  /** Mount point of version 2; null when there is none. */
  readonly v2: string | null;
  /** Controllers of version 2. */
  readonly v2Controllers: readonly string[];
}

/** All groups of a node are in this one. */
const PARENT = 'skerry';
/** For what the kernel does in its own time, in milliseconds. */
const SETTLE_MS = 5000;
const POLL_MS = 1;

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(done: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + SETTLE_MS;
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`${what} took longer than ${SETTLE_MS} ms`);
    await later(POLL_MS);
  }
}

/** What a file says; null when there is none. */
async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // ENODEV: the group went while it was read.
    if (code === 'ENOENT' || code === 'ENODEV') return null;
    throw error;
  }
}

export function parseMounts(mountinfo: string): Omit<Hierarchies, 'v2Controllers'> {
  const v1 = new Map<string, string>();
  let v2: string | null = null;
  for (const line of mountinfo.split('\n')) {
    // https://docs.kernel.org/filesystems/proc.html, 3.5
    const [left = '', right = ''] = line.split(' - ');
    const at = left
      .split(' ')[4]
      ?.replaceAll(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
    const [type, , options = ''] = right.split(' ');
    if (at === undefined) continue;
    if (type === 'cgroup2') v2 ??= at;
    if (type === 'cgroup') for (const option of options.split(',')) if (!v1.has(option)) v1.set(option, at);
  }
  return { v1, v2 };
}

export async function findHierarchies(): Promise<Hierarchies> {
  const found = parseMounts(await readFile('/proc/self/mountinfo', 'utf8'));
  const controllers = found.v2 === null ? '' : ((await textOf(join(found.v2, 'cgroup.controllers'))) ?? '');
  return { ...found, v2Controllers: controllers.split(/\s+/).filter((name) => name !== '') };
}

/** Throws when the kernel has what containers need in neither version. */
export function controlGroups({ v1, v2, v2Controllers }: Hierarchies): ControlGroups {
  if (v2 !== null && v2Controllers.includes('memory')) {
    return { version: 2, unmounts: [], group: (id) => new GroupV2(join(v2, PARENT, id), `/${PARENT}/${id}`) };
  }
  if (!v1.has('memory') || !v1.has('freezer'))
    throw new Error('the kernel has no control groups of memory and freezer');
  return {
    version: 1,
    // Beside version 1 an empty version 2 is taken for the real one.
    unmounts: v2 === null ? [] : [v2],
    group: (id) => new GroupV1(v1, `/${PARENT}/${id}`),
  };
}

class GroupV1 implements ContainerGroup {
  readonly path: string;
  readonly #hierarchies: ReadonlyMap<string, string>;

  constructor(hierarchies: ReadonlyMap<string, string>, path: string) {
    this.#hierarchies = hierarchies;
    this.path = path;
  }

  async freeze(): Promise<void> {
    await this.#state('FROZEN');
  }

  async thaw(): Promise<void> {
    await this.#state('THAWED');
  }

  async kill(): Promise<void> {
    const processes = async () =>
      (await textOf(this.#file('freezer', 'cgroup.procs')))?.trim().split('\n').filter(Boolean) ?? [];
    await until(async () => {
      const found = await processes();
      if (found.length === 0) return true;
      // Frozen they make no others; a kill takes effect when they thaw.
      await this.freeze();
      for (const pid of await processes()) killIfThere(Number(pid));
      await this.thaw();
      return false;
    }, `ending ${this.path}`);
  }

  async usage(): Promise<ContainerUsage> {
    const number = async (controller: string, file: string) =>
      Number((await textOf(this.#file(controller, file))) ?? 0);
    const [cpuNs, memoryBytes, processes] = await Promise.all([
      this.#hierarchies.has('cpuacct') ? number('cpuacct', 'cpuacct.usage') : 0,
      number('memory', 'memory.usage_in_bytes'),
      this.#hierarchies.has('pids') ? number('pids', 'pids.current') : 0,
    ]);
    return { cpuMs: cpuNs / 1e6, memoryBytes, processes };
  }

  async outOfMemoryKills(): Promise<number> {
    return killsIn(await textOf(this.#file('memory', 'memory.oom_control')));
  }

  async remove(): Promise<void> {
    for (const mount of new Set(this.#hierarchies.values())) await removeFolder(join(mount, this.path));
  }

  #file(controller: string, name: string): string {
    return join(this.#hierarchies.get(controller) as string, this.path, name);
  }

  async #state(wanted: 'FROZEN' | 'THAWED'): Promise<void> {
    const file = this.#file('freezer', 'freezer.state');
    await until(async () => {
      const state = await textOf(file);
      if (state === null || state.trim() === wanted) return true;
      // FREEZING goes on only when it is said again.
      await writeFile(file, wanted);
      return ((await textOf(file)) ?? wanted).trim() === wanted;
    }, `${this.path} to be ${wanted}`);
  }
}

class GroupV2 implements ContainerGroup {
  readonly path: string;
  readonly #folder: string;

  constructor(folder: string, path: string) {
    this.#folder = folder;
    this.path = path;
  }

  freeze(): Promise<void> {
    return this.#state(1);
  }

  thaw(): Promise<void> {
    return this.#state(0);
  }

  async kill(): Promise<void> {
    if ((await this.#read('cgroup.events')) === null) return;
    await writeFile(join(this.#folder, 'cgroup.kill'), '1');
    await until(async () => !/^populated 1$/m.test((await this.#read('cgroup.events')) ?? ''), `ending ${this.path}`);
  }

  async usage(): Promise<ContainerUsage> {
    const [cpu, memory, processes] = await Promise.all(
      ['cpu.stat', 'memory.current', 'pids.current'].map((name) => this.#read(name)),
    );
    const cpuUs = Number(/^usage_usec (\d+)$/m.exec(cpu ?? '')?.[1] ?? 0);
    return { cpuMs: cpuUs / 1000, memoryBytes: Number(memory ?? 0), processes: Number(processes ?? 0) };
  }

  async outOfMemoryKills(): Promise<number> {
    return killsIn(await this.#read('memory.events'));
  }

  remove(): Promise<void> {
    return removeFolder(this.#folder);
  }

  #read(name: string): Promise<string | null> {
    return textOf(join(this.#folder, name));
  }

  async #state(frozen: 0 | 1): Promise<void> {
    if ((await this.#read('cgroup.events')) === null) return;
    await writeFile(join(this.#folder, 'cgroup.freeze'), String(frozen));
    const settled = new RegExp(`^frozen ${frozen}$`, 'm');
    await until(
      async () => settled.test((await this.#read('cgroup.events')) ?? `frozen ${frozen}`),
      `${this.path} to be frozen`,
    );
  }
}

function killsIn(events: string | null): number {
  return Number(/^oom_kill (\d+)$/m.exec(events ?? '')?.[1] ?? 0);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A group with all that are in it, the innermost first: a container may have made some of its own. */
async function removeFolder(folder: string): Promise<void> {
  const inside = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of inside) if (entry.isDirectory()) await removeFolder(join(folder, entry.name));
  await until(async () => {
    try {
      await rmdir(folder);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return true;
      // A process that ends is still counted for a moment.
      if (code === 'EBUSY') return false;
      throw error;
    }
  }, `removing ${folder}`);
}
