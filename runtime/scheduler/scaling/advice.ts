/** A number of instances that goes up at once and down only when less was wanted for a while, so that it does not flap. */

/** How long, in milliseconds. */
const HOLD_MS = 30_000;

export class Advice {
  #instances = 0;
  /** The most that was wanted since `#since`, which is when less than the advice was first wanted. */
  #less = 0;
  #since: number | null = null;

  get instances(): number {
    return this.#instances;
  }

  /** True when the number has changed. It grows to at most double what runs, and one more: no storm of starts. */
  take(wanted: number, running: number, most: number, now: number): boolean {
    const before = this.#instances;
    const bounded = Math.min(wanted, most, 2 * running + 1);
    if (bounded >= before) {
      this.#instances = bounded;
      this.#since = null;
      return bounded !== before;
    }
    if (this.#since === null) {
      this.#since = now;
      this.#less = bounded;
    }
    this.#less = Math.max(this.#less, bounded);
    if (now - this.#since < HOLD_MS) return false;
    this.#instances = this.#less;
    this.#since = null;
    return true;
  }
}
