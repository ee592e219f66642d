/** What is known of one instance by the requests that it has served. */

/** After this long without news a latency counts for a third, in milliseconds. */
const FADES_MS = 10_000;
/** Failures in a row after which an instance gets no requests for a while. */
const FAILURES = 5;
/** How long, in milliseconds; doubled each time that it fails again, up to the most. */
const EJECTED_MS = { first: 5000, most: 300_000 };

export class ServiceRecord {
  #latencyMs = 0;
  #at = 0;
  #failures = 0;
  /** Until then it gets no requests; then one at a time until one goes well. 0: nothing is held against it. */
  #ejectedUntil = 0;
  #ejections = 0;

  /**
   * Peak EWMA: a slow answer counts at once, quick ones only bit by bit, and what is long ago fades, so that an instance
   * that was slow is asked again. In milliseconds; 0: not known.
   */
  latencyMs(now: number): number {
    return this.#latencyMs * Math.exp(-Math.max(0, now - this.#at) / FADES_MS);
  }

  /** The same as it was at the last answer. */
  get lastMs(): number {
    return this.#latencyMs;
  }

  get ejected(): boolean {
    return this.#ejectedUntil > 0;
  }

  /** It may get a request when it has `inFlight`. */
  takes(inFlight: number, now: number): boolean {
    return this.#ejectedUntil === 0 || (now >= this.#ejectedUntil && inFlight === 0);
  }

  succeeded(ms: number, now: number): void {
    this.#failures = 0;
    this.#ejectedUntil = 0;
    this.#ejections = 0;
    if (!(ms >= 0)) return;
    if (ms >= this.#latencyMs) this.#latencyMs = ms;
    else {
      const kept = Math.exp(-Math.max(0, now - this.#at) / FADES_MS);
      this.#latencyMs = this.#latencyMs * kept + ms * (1 - kept);
    }
    this.#at = now;
  }

  /** It was not able to serve a request: another instance might have been. */
  failed(now: number): void {
    this.#failures++;
    const again = this.#ejectedUntil > 0 && now >= this.#ejectedUntil;
    if (this.#failures < FAILURES && !again) return;
    this.#ejectedUntil = now + Math.min(EJECTED_MS.most, EJECTED_MS.first * 2 ** this.#ejections);
    this.#ejections++;
    this.#failures = 0;
  }
}
