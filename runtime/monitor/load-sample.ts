/** What the monitors look at: what one workload was asked for and did between two looks. */

export interface LoadSample {
  /** End of the window, in milliseconds on the scheduler's clock. */
  readonly at: number;
  /** Its length, in milliseconds; more than 0. */
  readonly windowMs: number;
  /** Requests that came in it. */
  readonly arrivals: number;
  /** Mean time that those waited who got a place in it; in milliseconds. */
  readonly waitMs: number;
  /** What a request takes once it runs, in milliseconds; 0: not known. Squared coefficient of variation of the same. */
  readonly serviceMs: number;
  readonly serviceScv: number;
  readonly instances: number;
  /** Requests that one instance takes at once. */
  readonly concurrency: number;
  /** The wait that is still good, in milliseconds. */
  readonly objectiveMs: number;
}

export const MONITORS = ['statistical', 'model', 'learned'] as const;
export type MonitorKind = (typeof MONITORS)[number];

export interface Finding {
  readonly monitor: MonitorKind;
  /** For people: what it sees. */
  readonly sees: string;
  /** 0 to 1. */
  readonly sure: number;
  /**
   * Instances that it would have at least; 0: it is sure that none is needed soon; null: it would do nothing, but somebody
   * should look.
   */
  readonly instances: number | null;
}

/** One workload's monitor of a kind; remembers what it was shown. */
export interface LoadMonitor {
  /** Null: nothing of note. A sample with what is no number, or from before the last, is passed over. */
  observe(sample: LoadSample): Finding | null;
}

/** A sample that can be reckoned with. */
export function isSound(sample: LoadSample): boolean {
  const { at, windowMs, arrivals, waitMs, serviceMs, serviceScv } = sample;
  const whole = [at, windowMs, arrivals, waitMs, serviceMs, serviceScv].every((value) => Number.isFinite(value));
  return whole && windowMs > 0 && arrivals >= 0 && waitMs >= 0 && serviceMs >= 0 && serviceScv >= 0;
}
