/** Processes that were started in a container from outside, by `exec`: found, and ended. */
import { readFileSync } from 'node:fs';
import { readlink } from 'node:fs/promises';

/** Of a container whose first process is `first` and which has these: those that nobody inside has started. */
export async function enteredProcesses(first: number, pids: readonly number[]): Promise<number[]> {
  const inside = await pidNamespace(first);
  const found: number[] = [];
  for (const pid of pids) {
    const parent = statusOf(pid)?.parent;
    // A process whose parent has ended gets one that is inside, if its parent was.
    if (pid !== first && parent !== undefined && (await pidNamespace(parent)) !== inside) found.push(pid);
  }
  return found;
}

/** With what it has started, as far as that has stayed in its process group: the runtime gave it a session of its own. */
export function endEntered(pid: number): void {
  const group = statusOf(pid)?.group;
  killIfThere(pid);
  if (group !== undefined && group > 1 && group !== statusOf(process.pid)?.group) killIfThere(-group);
}

/** Null when there is none of this number. */
function pidNamespace(pid: number): Promise<string | null> {
  return readlink(`/proc/${pid}/ns/pid`).catch(() => null);
}

/** Undefined when there is none of this number. */
function statusOf(pid: number): { parent: number; group: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may have anything in it.
    const [, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { parent: Number(parent), group: Number(group) };
  } catch {
    return undefined;
  }
}

/** A negative number is a process group. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
