/**
 * The workers of all functions, and the queue before them. As many guests run at once as there are cores; one that waits
 * for something outside, or has run for long, leaves its place to the next, so that neither sleepers nor loops hold up
 * other functions.
 */
import { availableParallelism, totalmem } from 'node:os';
import { GuestWorker, type Job } from './guest-worker.ts';
import { Lanes } from './lanes.ts';
import type { CodeMessage } from './protocol.ts';

/** A guest that has run for so long (milliseconds) no longer counts as one of those that the cores are for. */
const longRun = 50;
/** How often a queue that stands is looked at again, in milliseconds: waiting guests give no sign. */
const lookEvery = 5;
/** A worker beyond the fewest that has been idle for so long (milliseconds) is ended. */
const idleTime = 10_000;

/**
 * Workers that are kept ready beyond the fewest at most. Guests that run for long at once take one each, and a worker that
 * is started among them waits for its share of the cores.
 */
const mostSpare = 8;
/** Bytes that an idle worker takes, in round figures. */
const workerBytes = 10 * 2 ** 20;
/**
 * Workers at most: those beyond the cores are for guests that wait, for another server or another function of this node, and
 * hold theirs meanwhile. Together they take a sixteenth of the machine's memory.
 */
const most = Math.max(16, Math.min(64, Math.floor(totalmem() / 16 / workerBytes)));
/** Those that wait for nothing yet take a sixty-fourth of it, and there is one at least. */
const spare = Math.max(1, Math.min(mostSpare, Math.floor(totalmem() / 64 / workerBytes)));

export class Pool {
  readonly #cores = Math.max(2, availableParallelism());
  readonly #fewest = Math.max(2, Math.min(4, availableParallelism()));
  readonly #workers = new Set<GuestWorker>();
  /** Used last at the end. */
  readonly #idle: GuestWorker[] = [];
  readonly #queue = new Lanes<Job>();
  #starting = 0;
  #look: NodeJS.Timeout | null = null;
  readonly #shrink: NodeJS.Timeout;
  #closed = false;

  constructor() {
    this.#shrink = setInterval(() => this.#dropIdle(), idleTime / 2);
    this.#shrink.unref();
    while (this.#workers.size < this.#fewest) this.#startOne();
  }

  /** Workers that are there for the next jobs. */
  get ready(): number {
    return this.#idle.length;
  }

  /** Queues a job: it begins as soon as it has a worker. */
  submit(job: Job): void {
    this.#queue.push(job);
    this.#dispatch();
  }

  /** Gives a function's code to the workers that are idle, so that its first request does not wait for that. */
  preload(code: CodeMessage): void {
    for (const worker of this.#idle) worker.give(code);
  }

  /** Takes a job out of the queue, if it is still there. */
  withdraw(job: Job): void {
    this.#queue.remove(job);
  }

  /** Ends a worker together with what it is doing. */
  kill(worker: GuestWorker): void {
    this.#forget(worker);
    void worker.terminate();
    this.#keepReady();
    this.#dispatch();
  }

  /** No more requests for this code will come. */
  drop(code: number): void {
    for (const worker of this.#workers) worker.drop(code);
  }

  /** Bytes of memory that workers keep for instances to come. */
  keptBytes(): number {
    let bytes = 0;
    for (const worker of this.#workers) bytes += worker.keptBytes;
    return bytes;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#shrink);
    if (this.#look) clearTimeout(this.#look);
    const workers = [...this.#workers];
    this.#workers.clear();
    this.#idle.length = 0;
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  #dispatch(): void {
    if (this.#closed) return;
    if (this.#queue.size > 0) this.#lowerLongRuns();
    for (let job = this.#queue.peek(); job && this.#running() < this.#cores; job = this.#queue.peek()) {
      const worker = this.#choose(job);
      if (!worker) break;
      this.#queue.take();
      worker.begin(job);
    }
    this.#keepReady();
    if (this.#queue.size > 0 && !this.#look) {
      this.#look = setTimeout(() => {
        this.#look = null;
        this.#dispatch();
      }, lookEvery);
    }
  }

  /** Guests that need a core now. */
  #running(): number {
    const before = performance.now() - longRun;
    let running = 0;
    for (const worker of this.#workers) if (worker.busy && !worker.waiting && worker.since > before) running++;
    return running;
  }

  /** Guests that have run for long leave the cores to those that come. */
  #lowerLongRuns(): void {
    const before = performance.now() - longRun;
    for (const worker of this.#workers) if (worker.busy && !worker.waiting && worker.since <= before) worker.lower();
  }

  /** An idle worker: the one used last of those that have the code, else the one that was idle longest. */
  #choose(job: Job): GuestWorker | null {
    let at = this.#idle.length - 1;
    while (at > 0 && !this.#idle[at]!.has(job.code.code)) at--;
    if (at < 0) return null;
    return this.#idle.splice(at, 1)[0]!;
  }

  /**
   * Starting a worker takes tens of milliseconds, and more where cores are scarce. One for each job that waits is on its way,
   * while there may be more; spare ones are started one after the other, so that they hold nobody up.
   */
  #keepReady(): void {
    if (this.#closed) return;
    while (this.#workers.size < this.#fewest) this.#startOne();
    const ready = this.#idle.length + this.#starting;
    const wanted = Math.min(most - this.#workers.size, this.#queue.size + 1 - ready);
    for (let i = 0; i < wanted; i++) this.#startOne();
    if (this.#starting === 0 && ready < spare && this.#workers.size < most) this.#startOne();
  }

  #startOne(): void {
    this.#starting++;
    const starting = new Set([this]);
    const started = () => {
      if (starting.delete(this)) this.#starting--;
    };
    this.#workers.add(
      new GuestWorker({
        ready: (worker) => {
          started();
          if (!this.#workers.has(worker)) return;
          this.#idle.push(worker);
          this.#dispatch();
        },
        ended: (worker) => {
          started();
          this.#forget(worker);
          this.#keepReady();
          this.#dispatch();
        },
      }),
    );
  }

  #forget(worker: GuestWorker): void {
    this.#workers.delete(worker);
    const at = this.#idle.indexOf(worker);
    if (at !== -1) this.#idle.splice(at, 1);
  }

  #dropIdle(): void {
    const before = performance.now() - idleTime;
    for (const worker of [...this.#idle]) {
      if (this.#workers.size <= this.#fewest + spare) return;
      if (worker.since > before) continue;
      this.#forget(worker);
      void worker.terminate();
    }
  }
}
