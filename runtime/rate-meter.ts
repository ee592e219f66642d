/** So many at once, and so many more each second after that. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

/** Counts what happens against a rate (token bucket). */
export class RateMeter {
  readonly #rate: Rate;
  #tokens: number;
  #filledAt = performance.now();

  constructor(rate: Rate) {
    this.#rate = rate;
    this.#tokens = rate.burst;
  }

  /** Counts one more; false when that is too many. */
  take(): boolean {
    const now = performance.now();
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + ((now - this.#filledAt) / 1000) * this.#rate.perSecond);
    this.#filledAt = now;
    // What comes beyond the rate is not owed for ever.
    this.#tokens = Math.max(-this.#rate.burst, this.#tokens - 1);
    return this.#tokens >= 0;
  }
}
