/** Time that passes from event to event. What is due at one moment happens in the order in which it was asked for. */
import type { Alarm, Clock } from '../clock.ts';

interface Event {
  readonly at: number;
  readonly serial: number;
  call: (() => void) | null;
}

function before(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.serial < other.serial);
}

export class VirtualClock implements Clock {
  readonly #heap: Event[] = [];
  #now = 0;
  #serial = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): Alarm {
    const event: Event = { at: this.#now + Math.max(0, ms), serial: this.#serial++, call };
    this.#push(event);
    return {
      cancel: () => {
        event.call = null;
      },
    };
  }

  /** Lets everything happen that is due until then. */
  runUntil(end: number): void {
    for (let event = this.#heap[0]; event && event.at <= end; event = this.#heap[0]) {
      this.#pop();
      if (!event.call) continue;
      this.#now = event.at;
      event.call();
    }
    this.#now = Math.max(this.#now, end);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const up = (place - 1) >> 1;
      if (!before(event, heap[up]!)) break;
      heap[place] = heap[up]!;
      place = up;
    }
    heap[place] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[place] = heap[child]!;
      place = child;
    }
    heap[place] = last;
  }
}
