/** Limits of a cgroup, as the files of either version take them. */
import { join } from 'node:path';
import { HostError } from '../host-error.ts';
import { codeOf, readNumber, write, writeIfThere } from './files.ts';

export interface CgroupLimits {
  /** Bytes of memory, the kernel's for the group included, without any swap beside it. */
  readonly memoryBytes?: number;
  /** Thousandths of one CPU's time, as a quota; at least 10. */
  readonly cpuMillicores?: number;
  /** Share of CPU time when it is scarce, 1 to 10,000; 100 for a group of which nothing is said. */
  readonly cpuWeight?: number;
  /** Processes and threads. */
  readonly pids?: number;
  /** Share of disk time when it is scarce, 1 to 10,000; 100 for a group of which nothing is said. */
  readonly ioWeight?: number;
}

/** A limit that this kernel has no means for. `swap`: memory is limited, but what it swaps out is not. */
export type Unapplied = keyof CgroupLimits | 'swap';

/** Where a controller's files of one group are. */
export interface Place {
  readonly version: 1 | 2;
  readonly folder: string;
}

const RANGES: Record<keyof CgroupLimits, readonly [least: number, most: number]> = {
  memoryBytes: [1, Number.MAX_SAFE_INTEGER],
  // The kernel takes no quota below 1 ms.
  cpuMillicores: [10, 1_000_000],
  cpuWeight: [1, 10_000],
  pids: [1, 4_194_304],
  ioWeight: [1, 10_000],
};

const PERIOD_US = 100_000;

/** @throws HostError EINVAL */
export function checkLimits(limits: CgroupLimits): void {
  for (const name of Object.keys(RANGES) as (keyof CgroupLimits)[]) {
    const value = limits[name];
    const [least, most] = RANGES[name];
    if (value === undefined || (Number.isSafeInteger(value) && value >= least && value <= most)) continue;
    const advice = `give a whole number from ${least} to ${most}, not ${value}`;
    throw new HostError({ code: 'EINVAL', syscall: 'write', path: name, advice });
  }
}

type Write = (place: Place, value: number) => Promise<Unapplied | true | false>;

/** Each gives back true when it is done, false when there is no file for it, or what of it is missing. */
export const writers: Record<keyof CgroupLimits, Write> = {
  async memoryBytes({ version, folder }, value) {
    const [limit, swap] =
      version === 2 ? ['memory.max', 'memory.swap.max'] : ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'];
    if (version === 2) {
      // Swap first: the other way round there is a moment in which the group may swap.
      const withoutSwap = await writeIfThere(join(folder, swap), '0');
      if (!(await writeIfThere(join(folder, limit), String(value)))) return false;
      return withoutSwap ? true : 'swap';
    }
    // Memory with swap may never be less than memory: what grows is written in the other order.
    const before = await readNumber(join(folder, swap));
    const grows = before !== null && value > before;
    if (grows) await write(join(folder, swap), String(value));
    if (!(await writeIfThere(join(folder, limit), String(value)))) return false;
    if (before === null) {
      // No accounting of swap: the kernel is asked to swap as little as it can.
      await writeIfThere(join(folder, 'memory.swappiness'), '0');
      return 'swap';
    }
    if (!grows) await write(join(folder, swap), String(value));
    return true;
  },

  async cpuMillicores({ version, folder }, value) {
    const quota = String(Math.round((value * PERIOD_US) / 1000));
    if (version === 2) return writeIfThere(join(folder, 'cpu.max'), `${quota} ${PERIOD_US}`);
    if (!(await writeIfThere(join(folder, 'cpu.cfs_period_us'), String(PERIOD_US)))) return false;
    return writeIfThere(join(folder, 'cpu.cfs_quota_us'), quota);
  },

  cpuWeight({ version, folder }, value) {
    if (version === 2) return writeIfThere(join(folder, 'cpu.weight'), String(value));
    // What is 100 in version 2 is 1024 in version 1.
    return writeIfThere(join(folder, 'cpu.shares'), String(Math.max(2, Math.round((value * 1024) / 100))));
  },

  pids: ({ folder }, value) => writeIfThere(join(folder, 'pids.max'), String(value)),

  async ioWeight({ version, folder }, value) {
    // Of the two I/O schedulers that know weights, BFQ takes 1 to 1,000.
    const bfq = String(Math.min(value, 1000));
    try {
      if (version === 1) return await writeIfThere(join(folder, 'blkio.bfq.weight'), bfq);
      const cost = await writeIfThere(join(folder, 'io.weight'), `default ${value}`);
      return (await writeIfThere(join(folder, 'io.bfq.weight'), bfq)) || cost;
    } catch (error) {
      // The file is there, and no disk has the scheduler.
      if (codeOf(error) === 'EOPNOTSUPP') return false;
      throw error;
    }
  },
};
