/** Keeps the kernel's grouping by session out of figures. */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupLayout } from '../../native/host/index.ts';

/**
 * Does the work with this process, and what it starts, in a control group for CPU time, of the usual share. In the root group
 * each session is a group of its own (`sched_autogroup`), so that on a busy machine whoever makes a session waits as a
 * newcomer. What a service manager starts is in a group.
 */
export async function inOwnGroup<T>(work: () => Promise<T>): Promise<T> {
  const { v1, v2 } = await cgroupLayout();
  const mount = v1.get('cpu') ?? (v2?.controllers.includes('cpu') ? v2.mount : undefined);
  const controllers = v1.has('cpu') ? /^\d+:(?:\S+,)?cpu(?:,\S+)?:\/$/m : /^0::\/$/m;
  if (mount === undefined || !controllers.test(readFileSync('/proc/self/cgroup', 'utf8'))) return work();
  const group = join(mount, `skerry-bench-${process.pid}`);
  mkdirSync(group);
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(process.pid));
    return await work();
  } finally {
    writeFileSync(join(mount, 'cgroup.procs'), String(process.pid));
    rmdirSync(group);
  }
}
