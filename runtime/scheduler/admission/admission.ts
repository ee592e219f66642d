/** Admission of the node: how many requests run and wait in all, and whose turn it is. A `Lane` each for its revisions. */
import { type Clock, nodeClock } from '../clock.ts';
import type { Discipline } from './discipline.ts';
import { Lane, type LaneOptions } from './lane.ts';
import { Turns } from './turns.ts';

export interface AdmissionOptions {
  readonly clock: Clock;
  readonly discipline: Discipline;
  /** Requests of all workloads at once. */
  readonly concurrency: number;
  /** Requests of all workloads that may wait. */
  readonly queue: number;
  /** A request that has waited this long counts as more urgent by one, in milliseconds. */
  readonly ageingMs: number;
}

export const ADMISSION_DEFAULTS = {
  clock: nodeClock,
  discipline: 'fcfs',
  concurrency: 1024,
  queue: 8192,
  ageingMs: 500,
} as const satisfies AdmissionOptions;

export class Admission {
  readonly clock: Clock;
  readonly discipline: Discipline;
  readonly concurrency: number;
  /** Written by the lanes. */
  running = 0;
  waiting = 0;
  readonly #queue: number;
  readonly #turns: Turns<Lane>;
  #serving = false;

  constructor(options: Partial<AdmissionOptions> = {}) {
    const { clock, discipline, concurrency, queue, ageingMs } = { ...ADMISSION_DEFAULTS, ...options };
    this.clock = clock;
    this.discipline = discipline;
    this.concurrency = concurrency;
    this.#queue = queue;
    this.#turns = new Turns(ageingMs);
  }

  lane(options: LaneOptions): Lane {
    return new Lane(this, options);
  }

  get free(): boolean {
    return this.running < this.concurrency;
  }

  get queueFull(): boolean {
    return this.waiting >= this.#queue;
  }

  join(lane: Lane): void {
    this.#turns.join(lane);
  }

  /** Gives the free places of the node to those whose turn it is. */
  serve(now: number): void {
    // Who is given a place may leave it at once: the loop that runs sees to that.
    if (this.#serving) return;
    this.#serving = true;
    try {
      while (this.running < this.concurrency) {
        const lane = this.#turns.take(now);
        if (!lane) return;
        lane.serveOne(now);
      }
    } finally {
      this.#serving = false;
    }
  }
}
