import type { Duplex } from 'node:stream';
import type { Exit, Instance, InstanceStats, ProcessStreams } from '../../driver.ts';
import type { Exchange } from '../../exchange.ts';
import type { Upstream } from '../../proxy/upstream.ts';
import type { Revision } from '../../workload/revision.ts';
import { containerErrors } from './errors.ts';
import type { ContainerProcess, ContainerUsage, Execution, HostedContainer } from './host.ts';
import type { Loopback } from './loopback.ts';
import { ProcessPipes } from './stdio.ts';

/** How often it is asked what it uses, in milliseconds. */
const USAGE_EVERY_MS = 2000;
/** A connection to its loopback is made within this, or refused; in milliseconds. */
export const CONNECT_MS = 2000;

export interface ContainerInstanceOptions {
  readonly revision: Revision;
  readonly container: HostedContainer;
  readonly loopback: Loopback;
  /** What a further process gets, beside its command. */
  readonly context: Omit<ContainerProcess, 'command'>;
  /** Null: it speaks no HTTP. */
  readonly upstream: Upstream | null;
  /** What its process reads and writes goes through these. */
  readonly pipes?: Promise<void> | undefined;
  /** What ends it gently: `SIGTERM`. */
  readonly stopSignal: string;
  /** What its start took, in milliseconds. */
  readonly startMs: number;
}

/** Resolves when `promise` has settled, or after `ms`. */
function settledWithin(promise: Promise<unknown>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    promise.then(done, done);
  });
}

/** One container: it answers requests, or is a process. */
export class ContainerInstance implements Instance {
  readonly id: string;
  readonly revision: Revision;
  readonly exited: Promise<Exit>;
  readonly #container: HostedContainer;
  readonly #loopback: Loopback;
  readonly #context: Omit<ContainerProcess, 'command'>;
  readonly #upstream: Upstream | null;
  readonly #stopSignal: string;
  readonly #startMs: number;
  readonly #polling: NodeJS.Timeout;
  #usage: ContainerUsage = { cpuMs: 0, memoryBytes: 0, processes: 0 };
  #requests = 0;
  #failures = 0;
  #executions = 0;
  #paused = false;
  /** Pausing and resuming, one after the other. */
  #resting: Promise<void> = Promise.resolve();
  #idle: (() => void) | null = null;
  #stopped: Promise<void> | null = null;

  constructor(options: ContainerInstanceOptions) {
    const { revision, container, loopback, context, upstream, pipes, stopSignal, startMs } = options;
    this.id = container.id;
    this.revision = revision;
    this.#container = container;
    this.#loopback = loopback;
    this.#context = context;
    this.#upstream = upstream;
    this.#stopSignal = stopSignal;
    this.#startMs = startMs;
    this.#polling = setInterval(() => void this.#poll(), USAGE_EVERY_MS).unref();
    this.exited = container.exited.then(async (exit) => {
      clearInterval(this.#polling);
      await pipes;
      await upstream?.close(this.#stopped ? null : exit.message);
      // It may have ended by itself: nothing of it stays.
      if (!this.#stopped) await container.remove();
      return this.#stopped ? { ...exit, reason: 'stopped' } : exit;
    });
    void this.#poll();
  }

  handle(exchange: Exchange): Promise<void> {
    if (this.#stopped) return Promise.reject(containerErrors.CONTAINER_STOPPED(this.revision.workload));
    const upstream = this.#upstream;
    if (!upstream) return Promise.reject(containerErrors.NO_HTTP(this.revision.workload));
    this.#requests++;
    const handled = this.#paused ? this.resume().then(() => upstream.handle(exchange)) : upstream.handle(exchange);
    return handled.then(
      () => this.#over(),
      (reason: unknown) => {
        this.#failures++;
        this.#over();
        throw reason;
      },
    );
  }

  connect(port: number): Promise<Duplex> {
    return this.#loopback.connect(port, CONNECT_MS);
  }

  async exec(command: readonly string[], streams: ProcessStreams, signal: AbortSignal): Promise<number> {
    if (this.#stopped) throw containerErrors.CONTAINER_STOPPED(this.revision.workload);
    await this.resume();
    const pipes = await ProcessPipes.open();
    let execution: Execution;
    try {
      execution = await this.#container.exec({ ...this.#context, command }, pipes.inside);
    } catch (error) {
      await pipes.discard();
      throw error;
    }
    await pipes.given();
    const kill = () => void execution.kill().catch(() => {});
    if (signal.aborted) kill();
    signal.addEventListener('abort', kill);
    // An idle one is not paused while something runs in it.
    this.#executions++;
    try {
      await pipes.connect(streams, execution.exited);
      return await execution.exited;
    } finally {
      this.#executions--;
      signal.removeEventListener('abort', kill);
    }
  }

  signal(name: string): Promise<boolean> {
    return this.#container.signal(name);
  }

  stats(): InstanceStats {
    const { cpuMs, memoryBytes } = this.#usage;
    const counts = { requests: this.#requests, failures: this.#failures, inFlight: this.#inFlight };
    return { ...counts, cpuMs, memoryBytes, coldStarts: 1, warmStarts: 0, startMs: this.#startMs };
  }

  pause(): Promise<void> {
    return this.#rest(async () => {
      if (this.#paused || this.#stopped || this.#inFlight + this.#executions > 0) return;
      await this.#container.pause();
      this.#paused = true;
    });
  }

  resume(): Promise<void> {
    return this.#rest(async () => {
      if (!this.#paused) return;
      await this.#container.resume();
      this.#paused = false;
    });
  }

  resize(): Promise<void> {
    return Promise.reject(new Error('resizing is not offered yet'));
  }

  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    const until = performance.now() + graceMs;
    const left = () => Math.max(0, until - performance.now());
    await this.resume().catch(() => {});
    if (this.#inFlight > 0) await this.#drained(left());
    const heard = await this.#container.signal(this.#stopSignal).catch(() => false);
    if (heard) await settledWithin(this.#container.exited, left());
    await this.#upstream?.close();
    await this.#container.remove();
    await this.#container.exited;
  }

  get #inFlight(): number {
    return this.#upstream?.inFlight ?? 0;
  }

  #drained(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#idle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #rest(work: () => Promise<void>): Promise<void> {
    const done = this.#resting.then(work);
    this.#resting = done.catch(() => {});
    return done;
  }

  #over(): void {
    if (this.#inFlight === 0) this.#idle?.();
  }

  async #poll(): Promise<void> {
    try {
      this.#usage = await this.#container.usage();
    } catch {
      // It has just ended: what it used last stays.
    }
  }
}
