/** Where the requests for one revision wait, and how many of them run. */
import type { Alarm } from '../clock.ts';
import { schedulerErrors } from '../errors.ts';
import type { Admission } from './admission.ts';
import { orderOf } from './discipline.ts';
import { Shedding } from './shedding.ts';
import { type Contender, Turn } from './turns.ts';
import { WaitQueue } from './wait-queue.ts';
import type { Waiter } from './waiter.ts';

export interface LaneOptions {
  /** For messages: the workload. */
  readonly name: string;
  /** Requests at once. */
  readonly concurrency: number;
  /** Requests that may wait. */
  readonly limit: number;
  /** 0-9, 9 the most urgent. */
  readonly priority: number;
  /** What a request may take in all, in milliseconds. */
  readonly timeoutMs: number;
  /** Called when a request has to wait. */
  readonly onWaiting?: () => void;
}

/** Requests whose times were seen before anything is concluded from them. */
const SEEN_ENOUGH = 8;
/** Share of a new time in the mean. */
const MEAN_GAIN = 1 / 16;
/** What a request counts for in turns before any was seen, in milliseconds. */
const UNKNOWN_COST_MS = 1;

/**
 * At most `concurrency` requests at once, at most `limit` more that wait in the order of the discipline, none past its
 * deadline. The holder of a place calls `leave` exactly once.
 */
export class Lane implements Contender {
  readonly priority: number;
  readonly turn = new Turn();
  /** Requests that may wait; a change holds for those that come after it. */
  limit: number;
  readonly #name: string;
  readonly #admission: Admission;
  readonly #onWaiting: () => void;
  readonly #shedding: Shedding;
  readonly #timeoutMs: number;
  /** Those whose callers have a place get theirs first, whatever the node has. */
  readonly #nested = new WaitQueue();
  readonly #waiting = new WaitQueue();
  #concurrency: number;
  #running = 0;
  #arrived = 0;
  #begun = 0;
  #waitedMs = 0;
  #seen = 0;
  #meanMs = 0;
  /** Mean of the squares, in square milliseconds. */
  #squares = 0;
  #alarm: Alarm | null = null;
  #alarmAt = Number.POSITIVE_INFINITY;
  /** Who waits for the last request to end. */
  #drained: (() => void)[] = [];

  constructor(admission: Admission, options: LaneOptions) {
    this.#admission = admission;
    this.#name = options.name;
    this.#concurrency = options.concurrency;
    this.limit = options.limit;
    this.priority = options.priority;
    this.#timeoutMs = options.timeoutMs;
    this.#shedding = new Shedding(options.timeoutMs);
    this.#onWaiting = options.onWaiting ?? (() => {});
  }

  /** When it grows, those that wait get the new places. */
  set concurrency(most: number) {
    this.#concurrency = most;
    this.#serve();
  }

  get concurrency(): number {
    return this.#concurrency;
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#waiting.size + this.#nested.size;
  }

  /** What a request takes once it runs, in milliseconds; 0 until enough were seen. */
  get meanMs(): number {
    return this.#seen < SEEN_ENOUGH ? 0 : this.#meanMs;
  }

  /** Squared coefficient of variation of the same. */
  get scv(): number {
    return this.meanMs === 0 ? 0 : Math.max(0, this.#squares / this.#meanMs ** 2 - 1);
  }

  /** Requests that came, those that got a place, and the time that those had waited, in milliseconds. */
  get arrived(): number {
    return this.#arrived;
  }

  get begun(): number {
    return this.#begun;
  }

  get waitedMs(): number {
    return this.#waitedMs;
  }

  // What the turns ask.

  get ready(): boolean {
    return this.#running < this.#concurrency && this.#waiting.size > 0;
  }

  get oldestAt(): number {
    return this.#waiting.oldest()?.arrivedAt ?? Number.POSITIVE_INFINITY;
  }

  get nextCostMs(): number {
    return this.#waiting.head()?.waiter.expectedMs || this.meanMs || UNKNOWN_COST_MS;
  }

  /** `now`: on the scheduler's clock. */
  enter(waiter: Waiter, now: number): void {
    this.#arrived++;
    if (this.#running < this.#concurrency && (waiter.nested || (this.#waiting.size === 0 && this.#admission.free))) {
      this.#start();
      waiter.run(now);
      return;
    }
    if (this.queued >= this.limit) this.#drop((waiting) => waiting.aborted);
    if (this.queued >= this.limit) return waiter.refuse(schedulerErrors.QUEUE_FULL(this.#name));
    if (this.#admission.queueFull) return waiter.refuse(schedulerErrors.NODE_FULL());
    if (this.#isLate(waiter, now)) return waiter.refuse(schedulerErrors.DEADLINE_OUT_OF_REACH(this.#name));
    const order = orderOf(this.#admission.discipline, now, waiter.expectedMs);
    (waiter.nested ? this.#nested : this.#waiting).push(waiter, now, order);
    this.#admission.waiting++;
    if (this.ready) this.#admission.join(this);
    if (waiter.deadline < this.#alarmAt) this.#armAlarm(waiter.deadline, now);
    this.#onWaiting();
  }

  /** `servedMs`: how long the request ran; left out: it says nothing about others. */
  leave(servedMs?: number): void {
    this.#running--;
    this.#admission.running--;
    if (servedMs !== undefined && servedMs >= 0) {
      // A connection that speaks another protocol goes on beyond what a request may take.
      const ms = Math.min(servedMs, this.#timeoutMs);
      const gain = this.#seen === 0 ? 1 : MEAN_GAIN;
      this.#meanMs += (ms - this.#meanMs) * gain;
      this.#squares += (ms * ms - this.#squares) * gain;
      this.#seen++;
    }
    if (this.#admission.waiting > 0) this.#serve();
    this.#tellDrained();
  }

  /** It is its turn: gives one of those that wait a place of the node, or refuses one; called when it is `ready`. */
  serveOne(now: number): void {
    // Who is next has waited long only where the queue stands; the oldest may have been overtaken.
    const waitedMs = now - this.#waiting.head()!.arrivedAt;
    const oldest = this.#waiting.oldest()!;
    if (this.#shedding.sheds(waitedMs, now) && !oldest.waiter.aborted) {
      // The turn was not used, and what stands behind it has not waited as long: others may be before it.
      this.turn.deficitMs += this.nextCostMs;
      this.#waiting.remove(oldest);
      this.#admission.waiting--;
      return oldest.waiter.refuse(schedulerErrors.SHED(this.#name));
    }
    this.#give(this.#waiting, now);
  }

  /** Resolves when no request runs or waits, or after `graceMs`. */
  async drained(graceMs: number): Promise<void> {
    if (this.#running === 0 && this.queued === 0) return;
    await new Promise<void>((resolve) => {
      const alarm = this.#admission.clock.after(graceMs, resolve);
      this.#drained.push(() => {
        alarm.cancel();
        resolve();
      });
    });
  }

  #serve(): void {
    const now = this.#admission.clock.now();
    while (this.#running < this.#concurrency && this.#nested.size > 0) this.#give(this.#nested, now);
    if (this.ready) this.#admission.join(this);
    this.#admission.serve(now);
  }

  #start(): void {
    this.#begun++;
    this.#running++;
    this.#admission.running++;
  }

  #give(queue: WaitQueue, now: number): void {
    const next = queue.head()!;
    queue.remove(next);
    this.#admission.waiting--;
    const { waiter } = next;
    if (waiter.aborted) return;
    if (waiter.deadline <= now) return waiter.refuse(schedulerErrors.QUEUE_DEADLINE(this.#name));
    this.#waitedMs += Math.max(0, now - next.arrivedAt);
    this.#start();
    waiter.run(now);
  }

  /** By what is known it would be answered too late: it had better hear so now. */
  #isLate(waiter: Waiter, now: number): boolean {
    const serviceMs = waiter.expectedMs || this.meanMs;
    if (serviceMs === 0) return false;
    // Shorter ones do not wait for all that are there.
    const ahead = this.#admission.discipline === 'sjf' ? 0 : this.queued;
    return now + (ahead * this.meanMs) / this.#concurrency + serviceMs > waiter.deadline;
  }

  #drop(leaves: (waiter: Waiter) => boolean): void {
    for (const queue of [this.#nested, this.#waiting]) {
      this.#admission.waiting -= queue.removeAll(leaves).length;
    }
  }

  #tellDrained(): void {
    if (this.#running === 0 && this.queued === 0) for (const tell of this.#drained.splice(0)) tell();
  }

  /** One alarm for all, set for the earliest deadline. */
  #armAlarm(earliest: number, now: number): void {
    this.#alarm?.cancel();
    this.#alarmAt = earliest;
    this.#alarm = this.#admission.clock.after(earliest - now, () => this.#expire());
  }

  #expire(): void {
    this.#alarm = null;
    this.#alarmAt = Number.POSITIVE_INFINITY;
    const now = this.#admission.clock.now();
    this.#drop((waiter) => waiter.aborted);
    const late = [this.#nested, this.#waiting].flatMap((queue) => queue.removeAll((waiter) => waiter.deadline <= now));
    this.#admission.waiting -= late.length;
    const next = Math.min(this.#nested.earliestDeadline(), this.#waiting.earliestDeadline());
    if (next < Number.POSITIVE_INFINITY) this.#armAlarm(next, now);
    for (const { waiter } of late) waiter.refuse(schedulerErrors.QUEUE_DEADLINE(this.#name));
    this.#tellDrained();
  }
}
