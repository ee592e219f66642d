/** The main thread's end of one worker (worker.ts): starts it, gives it code and requests, ends it. */
import { getPriority, setPriority } from 'node:os';
import { join } from 'node:path';
import { type Transferable, Worker } from 'node:worker_threads';
import { projectRoot } from '../../../../errors/project-root.ts';
import type { Lane } from './lanes.ts';
import {
  type CodeMessage,
  cell,
  cellCount,
  type FromWorker,
  making,
  pageBytes,
  type RunFigures,
  type ToWorker,
} from './protocol.ts';
import { isolatedWorker } from './worker-options.ts';

/** MiB of JavaScript heap of a worker: generated code of some functions, and what the host keeps for one guest. */
const heapMb = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 32 };
/** Functions whose code a worker keeps; the one used longest ago goes first. */
const keptCodes = 64;

/**
 * Niceness of the thread of a guest that has run for long (sched(7)): a tenth of the share of others, so that it delays neither the
 * clock of its deadline nor guests that come for a moment. As nice values are a thread's own on Linux, only there.
 */
const longRunNiceness = 10;
const niceness = getPriority();

/** A request to be run, as its worker sees it. */
export interface Job {
  readonly code: CodeMessage;
  /** That of its function. */
  readonly lane: Lane<Job>;
  /** The worker is this job's alone until it is done. */
  begin(worker: GuestWorker): void;
  message(message: FromWorker): void;
  /** The worker died under it. */
  lost(outOfMemory: boolean, reason: Error): void;
}

export interface WorkerOwner {
  ready(worker: GuestWorker): void;
  ended(worker: GuestWorker): void;
}

export class GuestWorker {
  readonly #worker: Worker;
  readonly #cells = new Int32Array(new SharedArrayBuffer(cellCount * 4));
  /** The codes it has and their components; used last at the end. */
  readonly #codes = new Map<number, string>();
  readonly #owner: WorkerOwner;
  #job: Job | null = null;
  #runs = 0;
  #failure: Error | null = null;
  #ended = false;
  /** Its thread's id with the system; 0 until it is known. */
  #thread = 0;
  #lowered = false;
  /** When the present job began, or the last one ended, in milliseconds of `performance.now()`. */
  since = performance.now();

  constructor(owner: WorkerOwner) {
    this.#owner = owner;
    this.#worker = new Worker(join(projectRoot, 'dist', 'jco-worker.js'), {
      workerData: { cells: this.#cells },
      ...isolatedWorker,
      trackUnmanagedFds: true,
      resourceLimits: heapMb,
    });
    // Its stdout and stderr are not read: guests print through the host, and a stream that is read keeps the process alive.
    this.#worker.on('message', (message: FromWorker) => this.#takeSafely(message));
    this.#worker.on('error', (error) => {
      this.#failure = error;
    });
    this.#worker.on('exit', (status) => this.#end(new Error(`a worker ended with status ${status}`)));
    this.#worker.unref();
  }

  get busy(): boolean {
    return this.#job !== null;
  }

  /** The guest in it waits for something outside. */
  get waiting(): boolean {
    return Atomics.load(this.#cells, cell.waiting) === 1;
  }

  /** Bytes of memory that it keeps for instances to come. */
  get keptBytes(): number {
    return Atomics.load(this.#cells, cell.kept) * pageBytes;
  }

  /** The worker is at the present run. */
  get begun(): boolean {
    return Atomics.load(this.#cells, cell.making) !== making.notBegun;
  }

  /** What the present run has taken so far, for one that does not come to its end. */
  soFar(): RunFigures {
    const busy = Atomics.load(this.#cells, cell.busy);
    const resumed = Atomics.load(this.#cells, cell.resumed);
    const made = Atomics.load(this.#cells, cell.making);
    const rests = this.waiting || !this.begun;
    const sinceResumed = rests ? 0 : Math.max(0, performance.now() - this.since - resumed / 1000);
    return {
      busyMs: busy / 1000 + sinceResumed,
      makingMs: made > making.underWay ? made / 1000 : null,
      reused: made === making.reused,
    };
  }

  /** Its guest has run for long: others come first until it is done. */
  lower(): void {
    if (this.#lowered || this.#thread === 0) return;
    try {
      setPriority(this.#thread, Math.min(19, niceness + longRunNiceness));
      this.#lowered = true;
    } catch {
      // Then it is one among all.
    }
  }

  /** False when the system does not let it: only root may. */
  #raise(): boolean {
    if (!this.#lowered) return true;
    try {
      setPriority(this.#thread, niceness);
      this.#lowered = false;
      return true;
    } catch {
      return false;
    }
  }

  has(code: number): boolean {
    return this.#codes.has(code);
  }

  /** Gives it a job; the number of the run, for its messages. */
  begin(job: Job): void {
    this.#job = job;
    this.since = performance.now();
    this.#worker.ref();
    this.give(job.code);
    for (const each of [cell.taken, cell.busy, cell.resumed]) Atomics.store(this.#cells, each, 0);
    Atomics.store(this.#cells, cell.making, making.notBegun);
    this.#runs++;
    job.begin(this);
  }

  get run(): number {
    return this.#runs;
  }

  /** Makes sure that it has a function's code. */
  give(code: CodeMessage): void {
    const had = this.#codes.delete(code.code);
    if (!had) this.post([...this.#codes.values()].includes(code.component) ? { ...code, glue: null } : code);
    this.#codes.set(code.code, code.component);
    if (this.#codes.size > keptCodes) this.drop(this.#codes.keys().next().value!);
  }

  drop(code: number): void {
    if (this.#codes.delete(code)) this.post({ kind: 'drop', code });
  }

  post(message: ToWorker, transfer?: readonly Transferable[]): void {
    this.#worker.postMessage(message, transfer);
    this.#ring();
  }

  /** The client has taken so many bytes more. */
  taken(bytes: number): void {
    Atomics.add(this.#cells, cell.taken, bytes);
    this.#ring();
  }

  /** The client of the present run has gone. */
  leave(): void {
    Atomics.store(this.#cells, cell.gone, this.#runs);
    this.#ring();
  }

  #ring(): void {
    Atomics.add(this.#cells, cell.bell, 1);
    Atomics.notify(this.#cells, cell.bell);
  }

  /** Ends the thread, whatever it is doing. Its job is not told. */
  async terminate(): Promise<void> {
    this.#job = null;
    await this.#worker.terminate();
  }

  /** What comes is as trusted as the generated code: a message that makes no sense ends the worker, not the node. */
  #takeSafely(message: FromWorker): void {
    try {
      this.#take(message);
    } catch (error) {
      this.#failure = error as Error;
      void this.#worker.terminate();
    }
  }

  #take(message: FromWorker): void {
    if (message.kind === 'ready') {
      // Said once, before any guest's code is there.
      if (this.#thread === 0 && this.#runs === 0 && process.platform === 'linux') this.#thread = message.thread;
      return this.#owner.ready(this);
    }
    const job = this.#job;
    if (!job || message.run !== this.#runs) return;
    if (message.kind === 'done') this.#release();
    job.message(message);
    if (message.kind !== 'done') return;
    if (this.#raise()) this.#owner.ready(this);
    else void this.#worker.terminate();
  }

  #release(): void {
    this.#job = null;
    this.since = performance.now();
    this.#worker.unref();
  }

  #end(reason: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    const job = this.#job;
    this.#job = null;
    this.#owner.ended(this);
    const error = this.#failure ?? reason;
    job?.lost((error as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY', error);
  }
}
