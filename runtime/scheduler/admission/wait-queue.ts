/** Requests that wait, in two orders: who is next, and who came first. */
import type { Waiter } from './waiter.ts';

export interface Waiting {
  readonly waiter: Waiter;
  readonly arrivedAt: number;
  readonly order: number;
  /** Breaks ties: who came first. */
  readonly serial: number;
  /** Its place in the heap; -1 when it is in the queue no more. */
  place: number;
}

function before(one: Waiting, other: Waiting): boolean {
  return one.order < other.order || (one.order === other.order && one.serial < other.serial);
}

/** A binary heap by order, beside the row of arrivals; what leaves by one of them is passed over in the other. */
export class WaitQueue {
  readonly #heap: Waiting[] = [];
  #arrivals: Waiting[] = [];
  #first = 0;
  #serial = 0;

  get size(): number {
    return this.#heap.length;
  }

  push(waiter: Waiter, arrivedAt: number, order: number): void {
    const waiting = { waiter, arrivedAt, order, serial: this.#serial++, place: this.#heap.length };
    this.#heap.push(waiting);
    this.#arrivals.push(waiting);
    this.#up(waiting);
  }

  /** Who is next. */
  head(): Waiting | undefined {
    return this.#heap[0];
  }

  /** Who came first of those that are there. */
  oldest(): Waiting | undefined {
    while (this.#first < this.#arrivals.length && this.#arrivals[this.#first]!.place < 0) this.#first++;
    if (this.#first > 64 && this.#first * 2 > this.#arrivals.length) {
      this.#arrivals = this.#arrivals.slice(this.#first);
      this.#first = 0;
    }
    return this.#arrivals[this.#first];
  }

  remove(waiting: Waiting): void {
    const { place } = waiting;
    waiting.place = -1;
    const last = this.#heap.pop()!;
    if (last !== waiting) {
      last.place = place;
      this.#heap[place] = last;
      this.#up(last);
      this.#down(last);
    }
    if (this.#heap.length === 0) {
      this.#arrivals = [];
      this.#first = 0;
    }
  }

  /** Takes out all that `leaves` says, in order of arrival. */
  removeAll(leaves: (waiter: Waiter) => boolean): Waiting[] {
    const gone = this.#arrivals.filter((waiting) => waiting.place >= 0 && leaves(waiting.waiter));
    for (const waiting of gone) this.remove(waiting);
    return gone;
  }

  earliestDeadline(): number {
    return this.#heap.reduce((least, { waiter }) => Math.min(least, waiter.deadline), Number.POSITIVE_INFINITY);
  }

  #up(waiting: Waiting): void {
    while (waiting.place > 0) {
      const parent = this.#heap[(waiting.place - 1) >> 1]!;
      if (!before(waiting, parent)) return;
      this.#swap(waiting, parent);
    }
  }

  #down(waiting: Waiting): void {
    for (;;) {
      const left = this.#heap[2 * waiting.place + 1];
      const right = this.#heap[2 * waiting.place + 2];
      if (!left) return;
      const child = right && before(right, left) ? right : left;
      if (!before(child, waiting)) return;
      this.#swap(child, waiting);
    }
  }

  #swap(one: Waiting, other: Waiting): void {
    const { place } = one;
    one.place = other.place;
    other.place = place;
    this.#heap[one.place] = one;
    this.#heap[place] = other;
  }
}
