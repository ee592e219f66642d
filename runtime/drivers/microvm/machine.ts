/** A machine whose guest has booted or gone on from a template: the node's ends of all that leads into it. */
import { Socket } from 'node:net';
import { SkerryError } from '../../../errors/skerry-error.ts';
import type { Exit } from '../../driver.ts';
import { AgentClient } from './agent/client.ts';
import { Console } from './console.ts';
import { machineErrors } from './errors.ts';
import type { HostedMachine, MachineHost, StartMachine } from './host.ts';
import type { DiskLimits, Monitor } from './monitor.ts';
import { QemuMonitor } from './qemu/monitor.ts';

/** Told to the kernel, whichever it is: last words on a console, and an end of the machine where there is a panic. */
const KERNEL_ARGUMENTS = 'console=ttyS0 quiet loglevel=1 panic=-1 reboot=t';
/** An emulated processor gains nothing from these. */
const EMULATED = ' mitigations=off no_timer_check';

export function kernelArguments({ acceleration }: Pick<MachineHost, 'acceleration'>): string {
  return KERNEL_ARGUMENTS + (acceleration.kind === 'tcg' ? EMULATED : '');
}

/** What one machine reads of its disk leaves room for the others. */
const DISK_LIMITS: DiskLimits = { bytesPerSecond: 256 * 2 ** 20, operationsPerSecond: 10_000 };

/** How the end of a machine shows first. */
const GONE = new Set(['MONITOR_GONE', 'AGENT_GONE']);
const EXIT_MS = 1000;

const later = (ms: number) => new Promise<null>((resolve) => setTimeout(resolve, ms, null));

export interface Machine {
  readonly hosted: HostedMachine;
  readonly monitor: Monitor;
  readonly agent: AgentClient;
  readonly console: Console;
}

/**
 * Starts a machine; resolves when its agent has answered. What fails leaves nothing.
 * @param name what it is called in errors
 * @param until when it must have, on the clock of `performance.now()`
 * @throws MACHINE_NOT_BOOTED, MACHINE_ENDED, and the errors of the host and of the monitor
 */
export async function bootMachine(
  host: MachineHost,
  request: StartMachine,
  name: string,
  until: number,
): Promise<Machine> {
  const began = performance.now();
  const hosted = await host.start(request);
  const { control, agent: agentFd, console: consoleFd } = hosted.channels;
  const kernel = new Console(new Socket({ fd: consoleFd, readable: true, writable: false }));
  const stream = new Socket({ fd: agentFd, readable: true, writable: true });
  stream.on('error', () => {});
  let monitor: QemuMonitor | null = null;
  let agent: AgentClient | null = null;
  const timer = new AbortController();
  try {
    const ended = hosted.exited.then((exit: Exit) => {
      throw machineErrors.MACHINE_ENDED(name, exit.message, kernel.lastWords());
    });
    ended.catch(() => {});
    const late = lateness(until, timer.signal, () =>
      machineErrors.MACHINE_NOT_BOOTED(name, Math.round(until - began), kernel.lastWords()),
    );
    const opening = QemuMonitor.open(new Socket({ fd: control, readable: true, writable: true }));
    opening.catch(() => {});
    monitor = await Promise.race([opening, ended, late]);
    if (request.memory.kind === 'clone') {
      await Promise.race([monitor.restore().then(() => (monitor as QemuMonitor).run()), ended]);
    }
    if (request.layers !== null) await Promise.race([monitor.limitDisk(DISK_LIMITS), ended]);
    const greeting = AgentClient.connect(stream, { timeoutMs: Math.max(1, until - performance.now()) });
    greeting.catch(() => {});
    agent = await Promise.race([greeting, ended, late]);
    return { hosted, monitor, agent, console: kernel };
  } catch (error) {
    // Streams end a moment before it is known how their process has ended, which says more.
    const isGone = error instanceof SkerryError && GONE.has(error.code);
    const exit = isGone ? await Promise.race([hosted.exited, later(EXIT_MS)]) : null;
    monitor?.close();
    stream.destroy();
    await hosted.remove();
    throw exit ? machineErrors.MACHINE_ENDED(name, exit.message, kernel.lastWords()).because(error) : error;
  } finally {
    timer.abort();
  }
}

/** Rejects at that time, unless it was aborted before. */
function lateness(until: number, signal: AbortSignal, error: () => Error): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(error()), Math.max(0, until - performance.now()));
    signal.addEventListener('abort', () => clearTimeout(timer));
  });
}
