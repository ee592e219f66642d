/** Processes that are watched and signalled by pidfd: a number that was given to another process meanwhile harms nobody. */
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { call, type NativeExit } from './binding.ts';
import { closeFd, events, waitFor } from './descriptors.ts';
import { asHostError, HostError } from './host-error.ts';

/** How a process ended: one of the two is null. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How long the parent of a process that has ended may take to reap it, in milliseconds: only then its exit is known. */
const REAP_MS = 2000;

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

function exitOf(found: NativeExit): Exit {
  const { code = null, signal } = found;
  // Real-time signals have no names in Node.js.
  return {
    code,
    signal: signal === undefined ? null : ((signalNames.get(signal) ?? `SIG${signal}`) as NodeJS.Signals),
  };
}

/**
 * When a process was started, in clock ticks since the machine was: with the pid and the boot it names one process for ever.
 * Null when there is none of this number.
 * @throws HostError EACCES (/proc is mounted with hidepid)
 */
export async function startTimeOf(pid: number): Promise<number | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may have anything in it.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw asHostError(error);
  }
}

export class HostProcess {
  readonly pid: number;
  /** See `startTimeOf`. */
  readonly startTime: number;
  readonly #fd: number;
  readonly #closing = new AbortController();
  #exited: Promise<Exit | null> | undefined;

  private constructor(pid: number, startTime: number, fd: number) {
    this.pid = pid;
    this.startTime = startTime;
    this.#fd = fd;
  }

  /**
   * Opens a process that runs, or has ended and was not reaped.
   * @param startTime of the process that is meant: another one that has its number now is not opened
   * @throws HostError ESRCH, EACCES, ENOSYS (Linux before 5.3)
   */
  static async open(pid: number, startTime?: number): Promise<HostProcess> {
    const fd = await call((host) => host.pidfdOpen(pid));
    try {
      const found = await startTimeOf(pid);
      // It is there still, so what was read was read of it.
      await call((host) => host.pidfdSignal(fd, 0), String(pid)).catch((error) => {
        if ((error as HostError).code !== 'EPERM') throw error;
      });
      if (found === null || (startTime !== undefined && found !== startTime)) {
        throw new HostError({ code: 'ESRCH', syscall: 'pidfd_open', path: String(pid) });
      }
      return new HostProcess(pid, found, fd);
    } catch (error) {
      await closeFd(fd);
      throw error;
    }
  }

  /** @throws HostError ESRCH (it has ended and was reaped), EPERM, EINVAL */
  async signal(signal: NodeJS.Signals): Promise<void> {
    if (this.#closing.signal.aborted) throw new HostError({ code: 'EBADF', syscall: 'pidfd_send_signal' });
    await call((host) => host.pidfdSignal(this.#fd, constants.signals[signal]), String(this.pid));
  }

  /**
   * Resolves when it has ended. Null when nobody can tell how: it is no child of this process and the kernel is older
   * than 6.15, its parent has not reaped it for two seconds, or `close` was called first.
   *
   * A child of this process is reaped by it. So it is not for children that node:child_process has started, whose `exit`
   * event would miss that; it is for those that a subreaper is given.
   */
  exited(): Promise<Exit | null> {
    this.#exited ??= this.#wait();
    return this.#exited;
  }

  async #wait(): Promise<Exit | null> {
    const { signal } = this.#closing;
    if (signal.aborted || (await waitFor(this.#fd, events.readable, { signal })) === 0) return null;
    const reaped = await call((host) => host.pidfdReap(this.#fd));
    if (reaped !== null) return exitOf(reaped);
    let found = await call((host) => host.pidfdExit(this.#fd));
    if (found === undefined && !signal.aborted) {
      // It is for its parent to reap; then the descriptor says that it hung up.
      await waitFor(this.#fd, events.hungUp, { timeoutMs: REAP_MS, signal });
      found = signal.aborted ? null : await call((host) => host.pidfdExit(this.#fd));
    }
    return found ? exitOf(found) : null;
  }

  /** Lets go of the process, which goes on. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    // Whoever waits for its end has let go of the descriptor then.
    await this.#exited?.catch(() => {});
    await closeFd(this.#fd);
  }
}

/**
 * Whether orphans among the descendants of this process become its children, so that it learns how they end. It has to
 * reap them then (`HostProcess.exited`).
 * @throws HostError EINVAL
 */
export function setChildSubreaper(on: boolean): Promise<void> {
  return call((host) => host.setChildSubreaper(on));
}

/**
 * Has the kernel send this process a signal when its parent ends (more exactly: the thread that started it).
 * @param parent who the parent was when this process was started; it may have ended since, which the kernel tells nobody
 * @throws HostError ESRCH (another is the parent by now: it has ended), EINVAL
 */
export async function setParentDeathSignal(signal: NodeJS.Signals, parent: number): Promise<void> {
  await call((host) => host.setParentDeathSignal(constants.signals[signal]));
  if (process.ppid !== parent) throw new HostError({ code: 'ESRCH', syscall: 'getppid', path: String(parent) });
}
