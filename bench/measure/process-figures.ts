/** What Linux counts of a server's processes (proc(5)): CPU time and memory. A server is a process group of its own. */
import { readdirSync, readFileSync } from 'node:fs';

/** Microseconds in a tick of the times in /proc: USER_HZ is 100 on Linux, whatever the kernel's own clock. */
const TICK_US = 10_000;

interface Stat {
  readonly group: number;
  readonly cpuUs: number;
}

/** Null for a process that has just ended. */
function stat(path: string): Stat | null {
  try {
    const text = readFileSync(path, 'latin1');
    // The name in parentheses may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { group: Number(fields[2]), cpuUs: (Number(fields[11]) + Number(fields[12])) * TICK_US };
  } catch {
    return null;
  }
}

function processes(group: number): string[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return all.filter((pid) => stat(`/proc/${pid}/stat`)?.group === group);
}

/** CPU time of a group since its processes started, in microseconds. */
export function groupCpuUs(group: number): number {
  return processes(group).reduce((sum, pid) => sum + (stat(`/proc/${pid}/stat`)?.cpuUs ?? 0), 0);
}

/** CPU time of a process' first thread, in microseconds: for Node, the one that runs JavaScript. */
export function mainThreadCpuUs(pid: number): number {
  return stat(`/proc/${pid}/task/${pid}/stat`)?.cpuUs ?? 0;
}

/** Memory of a group in bytes, of shared pages its part (PSS). */
export function groupPssBytes(group: number): number {
  return processes(group).reduce((sum, pid) => {
    const found = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'));
    return sum + Number(found?.[1] ?? 0) * 1024;
  }, 0);
}
