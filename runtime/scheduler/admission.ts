import type { SkerryError } from '../../errors/skerry-error.ts';
import { MAX_TIMER_MS } from '../timers.ts';
import { schedulerErrors } from './errors.ts';

/** What waits for a place: exactly one of `run` and `refuse` is called, once. */
export interface Waiter {
  /** On the clock of `performance.now()`, in milliseconds. */
  readonly deadline: number;
  /** True when nobody waits for the answer any more; such a waiter is dropped without a call. */
  readonly aborted: boolean;
  run(): void;
  refuse(error: SkerryError): void;
}

/**
 * Admission to one revision: at most `concurrency` requests at once, at most `limit` more waiting in order of arrival,
 * none past its deadline. The holder of a place calls `leave` exactly once.
 */
export class AdmissionQueue {
  readonly #name: string;
  /** Called when a request has to wait. */
  readonly #onWaiting: () => void;
  #concurrency: number;
  /** Requests that may wait; a change holds for those that come after it. */
  limit: number;
  #waiting: Waiter[] = [];
  #timer: NodeJS.Timeout | null = null;
  /** When the timer fires, on the clock of `performance.now()`. */
  #timerAt = Number.POSITIVE_INFINITY;
  #running = 0;
  /** Who waits for the last request to end. */
  #drained: (() => void)[] = [];

  constructor(name: string, concurrency: number, limit: number, onWaiting: () => void = () => {}) {
    this.#name = name;
    this.#concurrency = concurrency;
    this.limit = limit;
    this.#onWaiting = onWaiting;
  }

  /** Requests at once; when it grows, those that wait get the new places. */
  set concurrency(most: number) {
    this.#concurrency = most;
    this.#admit();
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#waiting.length;
  }

  enter(waiter: Waiter): void {
    if (this.#running < this.#concurrency) {
      this.#running++;
      waiter.run();
      return;
    }
    if (this.#waiting.length >= this.limit) this.#dropAborted();
    if (this.#waiting.length >= this.limit) {
      waiter.refuse(schedulerErrors.QUEUE_FULL(this.#name));
      return;
    }
    this.#waiting.push(waiter);
    if (waiter.deadline < this.#timerAt) this.#armTimer(waiter.deadline);
    this.#onWaiting();
  }

  leave(): void {
    this.#running--;
    this.#admit();
    // Nobody waits while a place is free: with nothing running the queue is empty too.
    if (this.#running === 0) for (const tell of this.#drained.splice(0)) tell();
  }

  #admit(): void {
    while (this.#running < this.#concurrency) {
      const next = this.#waiting.shift();
      if (!next) break;
      if (next.aborted) continue;
      if (next.deadline <= performance.now()) {
        next.refuse(schedulerErrors.QUEUE_DEADLINE(this.#name));
        continue;
      }
      this.#running++;
      next.run();
    }
  }

  /** Resolves when no request runs or waits, or after `graceMs`. */
  async drained(graceMs: number): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(graceMs, MAX_TIMER_MS));
      this.#drained.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #dropAborted(): void {
    this.#waiting = this.#waiting.filter((waiter) => !waiter.aborted);
  }

  /** One timer for the whole queue, set for the earliest deadline in it. */
  #armTimer(earliest: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timerAt = earliest;
    const delay = Math.max(1, Math.ceil(earliest - performance.now()));
    this.#timer = setTimeout(() => this.#expire(), Math.min(delay, MAX_TIMER_MS));
    this.#timer.unref();
  }

  #expire(): void {
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    const late = this.#waiting.filter((waiter) => waiter.deadline <= now);
    this.#waiting = this.#waiting.filter((waiter) => waiter.deadline > now && !waiter.aborted);
    if (this.#waiting.length > 0) {
      this.#armTimer(
        this.#waiting.reduce((least, waiter) => Math.min(least, waiter.deadline), Number.POSITIVE_INFINITY),
      );
    }
    for (const waiter of late) if (!waiter.aborted) waiter.refuse(schedulerErrors.QUEUE_DEADLINE(this.#name));
  }
}
