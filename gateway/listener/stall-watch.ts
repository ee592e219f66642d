/** Finds transfers that do not move: one timer looks at all of them, and none runs while there are none. */

import { type Member, Roster } from '../../runtime/roster.ts';

export interface Watched extends Member {
  /** Asked now and then; `now` is on the clock of `performance.now()`. True ends the watch and calls `expire`. */
  overdue(now: number): boolean;
  expire(): void;
}

export class StallWatch<T extends Watched = Watched> implements Iterable<T> {
  readonly #watched = new Roster<T>();
  readonly #everyMs: number;
  #timer: NodeJS.Timeout | null = null;

  /** `stallMs`: the shortest time that anything watched allows itself. */
  constructor(stallMs: number) {
    this.#everyMs = Math.max(10, Math.min(1000, stallMs / 4));
  }

  add(watched: T): void {
    this.#watched.add(watched);
    this.#timer ??= setInterval(() => this.#look(), this.#everyMs).unref();
  }

  delete(watched: T): void {
    this.#watched.delete(watched);
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#watched[Symbol.iterator]();
  }

  #look(): void {
    const now = performance.now();
    for (const each of this.#watched) {
      if (!each.overdue(now)) continue;
      this.#watched.delete(each);
      each.expire();
    }
    if (this.#watched.size > 0 || !this.#timer) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
