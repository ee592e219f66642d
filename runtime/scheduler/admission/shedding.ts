/**
 * When a queue stands, the oldest who wait are the most likely to be waste: controlled delay (CoDel, RFC 8289) over the time
 * that they waited. A burst may wait; a queue that stays longer than the target for a whole interval is cut, more and more
 * often until it is short again.
 */

/** A target in proportion to what a request may take, within bounds; in milliseconds. */
const TARGET = { part: 0.1, least: 5, most: 1000 };
const INTERVAL_MS = { least: 100, targets: 2 };

export class Shedding {
  readonly targetMs: number;
  readonly #intervalMs: number;
  /** When the wait has been above the target for an interval; 0: it is not above it. */
  #aboveUntil = 0;
  #dropping = false;
  #drops = 0;
  #nextDrop = 0;

  /** `timeoutMs`: what a request may take in all. */
  constructor(timeoutMs: number) {
    this.targetMs = Math.min(TARGET.most, Math.max(TARGET.least, timeoutMs * TARGET.part));
    this.#intervalMs = Math.max(INTERVAL_MS.least, INTERVAL_MS.targets * this.targetMs);
  }

  /** Asked when a place is given to one that has waited this long: is the oldest shed? */
  sheds(waitedMs: number, now: number): boolean {
    if (waitedMs < this.targetMs) {
      this.#aboveUntil = 0;
      this.#dropping = false;
      return false;
    }
    if (this.#aboveUntil === 0) {
      this.#aboveUntil = now + this.#intervalMs;
      return false;
    }
    if (now < this.#aboveUntil) return false;
    if (!this.#dropping) {
      this.#dropping = true;
      // A queue that stood a short time ago goes on where it was.
      this.#drops = this.#drops > 2 && now - this.#nextDrop < 8 * this.#intervalMs ? this.#drops - 2 : 1;
      this.#nextDrop = now + this.#intervalMs / Math.sqrt(this.#drops);
      return true;
    }
    if (now < this.#nextDrop) return false;
    this.#drops++;
    this.#nextDrop += this.#intervalMs / Math.sqrt(this.#drops);
    return true;
  }
}
