/** Whose turn it is when the node has one place and several workloads want it. */

/** Where a workload's requests wait, as the turns see it. */
export interface Contender {
  /** 0-9, 9 the most urgent. */
  readonly priority: number;
  /** It has one that waits, and a place of its own for it. */
  readonly ready: boolean;
  /** When the oldest of those that wait came, in milliseconds. */
  readonly oldestAt: number;
  /** What the next of them will take, in milliseconds; more than 0. */
  readonly nextCostMs: number;
  /** Of the turns alone. */
  readonly turn: Turn;
}

export class Turn {
  /** Time that its workload may still use before the next one's turn, in milliseconds. */
  deficitMs = 0;
  begun = false;
  queued = false;
  next: Contender | null = null;
}

/** Workloads of one priority in a ring: deficit round robin, so that each gets the same time whatever one request takes. */
class Ring<T extends Contender> {
  #first: T | null = null;
  #last: T | null = null;
  /** At least what the largest request takes: one round is enough for any. */
  #quantumMs = 1;

  push(contender: T): void {
    contender.turn.queued = true;
    contender.turn.next = null;
    if (this.#last) this.#last.turn.next = contender;
    else this.#first = contender;
    this.#last = contender;
  }

  /** Whose turn it is; those that want no place any more leave the ring. */
  current(): T | null {
    for (;;) {
      const contender = this.#first;
      if (!contender) return null;
      const { turn } = contender;
      if (!contender.ready) {
        this.#shift(contender);
        turn.deficitMs = 0;
        continue;
      }
      const costMs = contender.nextCostMs;
      this.#quantumMs = Math.max(this.#quantumMs, costMs);
      if (!turn.begun) {
        turn.begun = true;
        turn.deficitMs += this.#quantumMs;
      }
      if (turn.deficitMs >= costMs) return contender;
      this.#shift(contender);
      this.push(contender);
    }
  }

  #shift(contender: T): void {
    this.#first = contender.turn.next as T | null;
    if (!this.#first) this.#last = null;
    contender.turn.queued = false;
    contender.turn.begun = false;
    contender.turn.next = null;
  }
}

/**
 * The most urgent first; who has waited longer counts as more urgent by one for each `ageingMs`. What a decision costs does
 * not grow with the number of workloads.
 */
export class Turns<T extends Contender> {
  readonly #rings = Array.from({ length: 10 }, () => new Ring<T>());
  readonly #ageingMs: number;

  constructor(ageingMs: number) {
    this.#ageingMs = ageingMs;
  }

  /** It wants a place, or may want one. */
  join(contender: T): void {
    if (!contender.turn.queued) this.#rings[contender.priority]!.push(contender);
  }

  /** Takes the next one's turn; null when nobody can use a place. */
  take(now: number): T | null {
    let best: T | null = null;
    let urgency = Number.NEGATIVE_INFINITY;
    for (let level = this.#rings.length - 1; level >= 0; level--) {
      const contender = this.#rings[level]!.current();
      if (!contender) continue;
      const aged = level + Math.max(0, now - contender.oldestAt) / this.#ageingMs;
      if (aged <= urgency) continue;
      urgency = aged;
      best = contender;
    }
    if (best) best.turn.deficitMs -= best.nextCostMs;
    return best;
  }
}
