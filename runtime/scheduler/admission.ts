import type { SkerryError } from '../../errors/skerry-error.ts';
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

/** Seconds a client is told to wait before it tries a full queue again. */
const RETRY_AFTER_S = 1;

/**
 * Admission to one revision: at most `concurrency` requests at once, at most `limit` more waiting in order of arrival,
 * none past its deadline. The holder of a place calls `leave` exactly once.
 */
export class AdmissionQueue {
  readonly #name: string;
  readonly #concurrency: number;
  /** Requests that may wait; a change holds for those that come after it. */
  limit: number;
  #waiting: Waiter[] = [];
  #timer: NodeJS.Timeout | null = null;
  #running = 0;

  constructor(name: string, concurrency: number, limit: number) {
    this.#name = name;
    this.#concurrency = concurrency;
    this.limit = limit;
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
      const error = schedulerErrors.QUEUE_FULL(this.#name);
      error.retryAfter = RETRY_AFTER_S;
      waiter.refuse(error);
      return;
    }
    this.#waiting.push(waiter);
    this.#armTimer();
  }

  leave(): void {
    this.#running--;
    while (this.#running < this.#concurrency) {
      const next = this.#waiting.shift();
      if (!next) return;
      if (next.aborted) continue;
      this.#running++;
      next.run();
    }
  }

  #dropAborted(): void {
    this.#waiting = this.#waiting.filter((waiter) => !waiter.aborted);
  }

  /** One timer for the whole queue, set for the earliest deadline in it. */
  #armTimer(): void {
    if (this.#timer || this.#waiting.length === 0) return;
    const earliest = this.#waiting.reduce(
      (least, waiter) => Math.min(least, waiter.deadline),
      Number.POSITIVE_INFINITY,
    );
    const delay = Math.max(1, Math.ceil(earliest - performance.now()));
    this.#timer = setTimeout(() => this.#expire(), delay);
    this.#timer.unref();
  }

  #expire(): void {
    this.#timer = null;
    const now = performance.now();
    const late = this.#waiting.filter((waiter) => waiter.deadline <= now);
    this.#waiting = this.#waiting.filter((waiter) => waiter.deadline > now && !waiter.aborted);
    this.#armTimer();
    for (const waiter of late) if (!waiter.aborted) waiter.refuse(schedulerErrors.QUEUE_DEADLINE(this.#name));
  }
}
