/** A machine as the sandbox of its workload's process. */
import { constants } from 'node:os';
import { SkerryError } from '../../../errors/skerry-error.ts';
import type { Exit, ProcessStreams } from '../../driver.ts';
import type { Limits } from '../../workload/revision.ts';
import { imageErrors } from '../image/errors.ts';
import type { Sandbox } from '../image/instance.ts';
import type { AgentClient } from './agent/client.ts';
import { AgentRefusal } from './agent/errors.ts';
import type { GuestExit, GuestProcess } from './agent/messages.ts';
import type { AgentProcess } from './agent/process.ts';
import type { HostedMachine } from './host.ts';
import type { Machine } from './machine.ts';
import type { Monitor } from './monitor.ts';

const SIGKILL = 9;
/** Exit status of a command that cannot be run, as a shell tells it. */
const COMMAND_NOT_FOUND = 127;

/** How often the agent is asked whether it is there, and how long it may take; in milliseconds. */
const ASK_EVERY_MS = 5000;
/** A guest that works, or a machine that is busy, may be slow: one that is lost never answers. */
const ANSWER_MS = 30_000;

export interface MachineSandboxOptions {
  readonly machine: Machine;
  readonly process: AgentProcess;
  /** What a further process gets, beside its command. */
  readonly context: Omit<GuestProcess, 'command'>;
  /** Of the guest at its start, in bytes. */
  readonly memoryBytes: number;
}

export class MachineSandbox implements Sandbox {
  readonly id: string;
  readonly exited: Promise<Exit>;
  /** Resolves with why the machine is of no use any more, though it has not ended. */
  readonly lost: Promise<string>;
  readonly #hosted: HostedMachine;
  readonly #monitor: Monitor;
  readonly #agent: AgentClient;
  readonly #process: AgentProcess;
  readonly #context: Omit<GuestProcess, 'command'>;
  readonly #memoryBytes: number;
  #asking: NodeJS.Timeout | undefined;
  #paused = false;
  #removing: Promise<void> | null = null;

  constructor({ machine, process, context, memoryBytes }: MachineSandboxOptions) {
    const { hosted, monitor, agent } = machine;
    this.id = hosted.id;
    this.#hosted = hosted;
    this.#monitor = monitor;
    this.#agent = agent;
    this.#process = process;
    this.#context = context;
    this.#memoryBytes = memoryBytes;
    const gone = hosted.exited.then((exit) => endOfMachine(exit, machine));
    this.exited = Promise.race([process.exited.then(endOfProcess, () => gone), gone]);
    this.lost = this.#watch();
    void this.exited.then(() => clearTimeout(this.#asking));
  }

  async exec(command: readonly string[], streams: ProcessStreams, signal: AbortSignal): Promise<number> {
    let process: AgentProcess;
    try {
      process = await this.#agent.exec({ ...this.#context, command }, streams);
    } catch (error) {
      if (!(error instanceof AgentRefusal)) throw error;
      streams.stderr.write(`skerry: ${error.message}\n`);
      return COMMAND_NOT_FOUND;
    }
    const kill = () => process.signal(SIGKILL, true);
    if (signal.aborted) kill();
    signal.addEventListener('abort', kill);
    try {
      const { code, signal: number } = await process.exited;
      return code ?? 128 + (number ?? SIGKILL);
    } finally {
      signal.removeEventListener('abort', kill);
    }
  }

  async signal(name: string): Promise<boolean> {
    this.#process.signal(signalNumber(name));
    return true;
  }

  async pause(): Promise<void> {
    this.#paused = true;
    clearTimeout(this.#asking);
    await this.#monitor.stop();
    await this.#hosted.pause();
  }

  async resume(): Promise<void> {
    await this.#hosted.resume();
    await this.#monitor.run();
    this.#paused = false;
    this.#askLater();
  }

  /** More memory than at its start a guest cannot have. */
  async resize({ cpuMillicores, memoryBytes }: Limits): Promise<void> {
    await this.#hosted.limit({ cpuMillicores });
    await this.#monitor.setMemory(Math.min(memoryBytes, this.#memoryBytes));
  }

  usage(): Promise<{ cpuMs: number; memoryBytes: number }> {
    return this.#hosted.usage();
  }

  /** Asks it nothing more: it is somebody else's to end. */
  letGo(): void {
    this.#removing ??= Promise.resolve();
    clearTimeout(this.#asking);
  }

  remove(): Promise<void> {
    this.#removing ??= this.#remove();
    return this.#removing;
  }

  async #remove(): Promise<void> {
    clearTimeout(this.#asking);
    await this.#hosted.remove();
    this.#agent.close();
    this.#monitor.close();
  }

  #tellLost!: (why: string) => void;

  #watch(): Promise<string> {
    const lost = new Promise<string>((resolve) => {
      this.#tellLost = resolve;
    });
    // Its end, when it has one, is told by the machine's a moment later.
    const gone = (what: string) => (why: Error | null) =>
      void setTimeout(() => this.#tellLost(why?.message ?? `its ${what} has gone`), 1000).unref();
    void this.#agent.closed.then(gone('agent'));
    void this.#monitor.closed.then(gone('monitor'));
    this.#askLater();
    return lost;
  }

  #askLater(): void {
    clearTimeout(this.#asking);
    if (this.#removing) return;
    this.#asking = setTimeout(() => void this.#ask(), ASK_EVERY_MS).unref();
  }

  async #ask(): Promise<void> {
    try {
      await this.#agent.stats(ANSWER_MS);
      this.#askLater();
    } catch (error) {
      if (this.#paused || this.#removing) return;
      this.#tellLost(error instanceof SkerryError ? error.what : (error as Error).message);
    }
  }
}

/** What an agent refuses to start, as errors of the workload. */
export function startFailure(error: unknown, command: string): unknown {
  if (!(error instanceof AgentRefusal)) return error;
  if (error.code === 'COMMAND_MISSING') return imageErrors.COMMAND_MISSING(command).because(error);
  return error;
}

/** Throws for what is no signal. */
function signalNumber(name: string): number {
  const number = /^\d+$/.test(name)
    ? Number(name)
    : constants.signals[`SIG${name.replace(/^SIG/, '')}` as NodeJS.Signals];
  if (number === undefined || number < 1 || number > 64) throw new RangeError(`${name} is no signal`);
  return number;
}

function endOfProcess({ code, signal, outOfMemory }: GuestExit): Exit {
  if (outOfMemory && (signal === SIGKILL || code === 128 + SIGKILL)) {
    return { code: 128 + SIGKILL, signal: 'SIGKILL', reason: 'out-of-memory', message: 'it ran out of memory' };
  }
  if (signal !== null) {
    const status = 128 + signal;
    return { code: status, signal: String(signal), reason: 'exited', message: `it was ended by signal ${signal}` };
  }
  return { code, signal: null, reason: 'exited', message: `it exited with status ${code}` };
}

/** The machine ended under its process. */
function endOfMachine(exit: Exit, { console: kernel }: Machine): Exit {
  const words = kernel.lastWords();
  if (exit.reason === 'stopped' || words === '') return exit;
  return { ...exit, reason: exit.reason === 'exited' ? 'failed' : exit.reason, message: `${exit.message}: ${words}` };
}
