/** What runs an image: it answers requests, or is a process; in a container or a machine of its own. */
import type { Duplex } from 'node:stream';
import type { Exit, Instance, InstanceStats, ProcessStreams } from '../../driver.ts';
import type { Exchange } from '../../exchange.ts';
import { Liveness, type LivenessOptions } from '../../health/liveness.ts';
import type { InnerSockets } from '../../network/inner-sockets.ts';
import type { Upstream } from '../../proxy/upstream.ts';
import type { Limits, Revision } from '../../workload/revision.ts';
import { imageErrors } from './errors.ts';

/** How often it is asked what it uses, in milliseconds. */
const USAGE_EVERY_MS = 2000;
/** A connection into it is made within this, or refused; in milliseconds. */
export const CONNECT_MS = 2000;

/** The sandbox around its first process. */
export interface Sandbox {
  readonly id: string;
  /** Resolves when its first process has ended, whoever ended it, and all that it wrote was told. */
  readonly exited: Promise<Exit>;
  /** As `Instance.exec`. */
  exec(command: readonly string[], streams: ProcessStreams, signal: AbortSignal): Promise<number>;
  /** To its first process. False when that does not listen to it. */
  signal(name: string): Promise<boolean>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  resize(limits: Limits): Promise<void>;
  usage(): Promise<{ readonly cpuMs: number; readonly memoryBytes: number }>;
  /** Ends all its processes and leaves nothing of it. Idempotent. */
  remove(): Promise<void>;
}

export interface ImageInstanceOptions {
  readonly revision: Revision;
  readonly sandbox: Sandbox;
  readonly sockets: InnerSockets;
  /** Null: it speaks no HTTP. */
  readonly upstream: Upstream | null;
  /** What its process reads and writes goes through these. */
  readonly pipes?: Promise<void> | undefined;
  /** How it is asked whether it is still well; null: it is not. */
  readonly liveness: Omit<LivenessOptions, 'dead'> | null;
  /** Resolves with why it is of no use any more, when it has not ended; of a machine whose agent is lost, say. */
  readonly lost?: Promise<string>;
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

export class ImageInstance implements Instance {
  readonly id: string;
  readonly revision: Revision;
  readonly exited: Promise<Exit>;
  readonly #sandbox: Sandbox;
  readonly #sockets: InnerSockets;
  readonly #upstream: Upstream | null;
  readonly #liveness: Liveness | null;
  readonly #stopSignal: string;
  readonly #startMs: number;
  readonly #polling: NodeJS.Timeout;
  #usage = { cpuMs: 0, memoryBytes: 0 };
  #requests = 0;
  #failures = 0;
  #executions = 0;
  #paused = false;
  /** Pausing and resuming, one after the other. */
  #resting: Promise<void> = Promise.resolve();
  #idle: (() => void) | null = null;
  #stopped: Promise<void> | null = null;
  /** Why it is ended by the node: it is not well. */
  #unwell: string | null = null;

  constructor(options: ImageInstanceOptions) {
    const { revision, sandbox, sockets, upstream, pipes, liveness, lost, stopSignal, startMs } = options;
    this.id = sandbox.id;
    this.revision = revision;
    this.#sandbox = sandbox;
    this.#sockets = sockets;
    this.#upstream = upstream;
    this.#liveness = liveness && new Liveness({ ...liveness, dead: (why) => this.#endUnwell(why) });
    this.#stopSignal = stopSignal;
    this.#startMs = startMs;
    this.#polling = setInterval(() => void this.#poll(), USAGE_EVERY_MS).unref();
    void lost?.then((why) => this.#endUnwell(why));
    this.exited = sandbox.exited.then(async (exit) => {
      clearInterval(this.#polling);
      this.#liveness?.close();
      await pipes;
      await upstream?.close(this.#stopped ? null : (this.#unwell ?? exit.message));
      // It may have ended by itself: nothing of it stays.
      if (!this.#stopped) await sandbox.remove();
      if (this.#stopped) return { ...exit, reason: 'stopped' };
      return this.#unwell === null ? exit : { ...exit, reason: 'failed', message: this.#unwell };
    });
    void this.#poll();
  }

  handle(exchange: Exchange): Promise<void> {
    if (this.#stopped) return Promise.reject(imageErrors.INSTANCE_STOPPED(this.revision.workload));
    if (this.#unwell !== null) {
      return Promise.reject(imageErrors.INSTANCE_UNWELL(this.revision.workload, this.#unwell));
    }
    const upstream = this.#upstream;
    if (!upstream) return Promise.reject(imageErrors.NO_HTTP(this.revision.workload));
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
    return this.#sockets.connect(port, CONNECT_MS);
  }

  async exec(command: readonly string[], streams: ProcessStreams, signal: AbortSignal): Promise<number> {
    if (this.#stopped) throw imageErrors.INSTANCE_STOPPED(this.revision.workload);
    // An idle one is not paused while something runs in it.
    this.#executions++;
    try {
      await this.resume();
      return await this.#sandbox.exec(command, streams, signal);
    } finally {
      this.#executions--;
    }
  }

  signal(name: string): Promise<boolean> {
    return this.#sandbox.signal(name);
  }

  stats(): InstanceStats {
    const { cpuMs, memoryBytes } = this.#usage;
    const counts = { requests: this.#requests, failures: this.#failures, inFlight: this.#inFlight };
    return { ...counts, cpuMs, memoryBytes, coldStarts: 1, warmStarts: 0, startMs: this.#startMs };
  }

  pause(): Promise<void> {
    return this.#rest(async () => {
      if (this.#paused || this.#stopped || this.#unwell !== null || this.#busy) return;
      await this.#liveness?.suspend();
      try {
        await this.#sandbox.pause();
        this.#paused = true;
      } finally {
        // What came meanwhile did not know that it was about to be paused.
        if (this.#busy || !this.#paused) await this.#wake();
      }
    });
  }

  resume(): Promise<void> {
    return this.#rest(async () => {
      if (this.#paused) await this.#wake();
    });
  }

  async #wake(): Promise<void> {
    await this.#sandbox.resume();
    this.#paused = false;
    this.#liveness?.resume();
  }

  resize(limits: Limits): Promise<void> {
    return this.#sandbox.resize(limits);
  }

  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    this.#liveness?.close();
    const until = performance.now() + graceMs;
    const left = () => Math.max(0, until - performance.now());
    await this.resume().catch(() => {});
    if (this.#inFlight > 0) await this.#drained(left());
    const heard = await this.#sandbox.signal(this.#stopSignal).catch(() => false);
    if (heard) await settledWithin(this.#sandbox.exited, left());
    await this.#upstream?.close();
    await this.#sandbox.remove();
    await this.#sandbox.exited;
  }

  /** At once: it has had the time to answer, and did not. */
  #endUnwell(why: string): void {
    if (this.#stopped) return;
    this.#unwell = why;
    // Before its end breaks them: who waits for an answer hears why.
    this.#upstream?.close(why).catch(() => {});
    // When hostd has gone, the node ends too.
    this.#sandbox.remove().catch(() => {});
  }

  get #busy(): boolean {
    return this.#inFlight + this.#executions > 0;
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
      this.#usage = await this.#sandbox.usage();
    } catch {
      // It has just ended: what it used last stays.
    }
  }
}
