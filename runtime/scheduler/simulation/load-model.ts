/**
 * Functions as those of Azure Functions in 2019 (Shahrad et al., Serverless in the Wild): rates over eight orders of magnitude,
 * most functions rare, a third driven by timers, some in bursts, more by day; times that are log-normal.
 */
import { exponential, logNormal, type Random, weighted } from './distributions.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;

export interface SimulatedFunction {
  readonly name: string;
  readonly trigger: 'timer' | 'http' | 'burst';
  /** Of a timer: from one to the next, in milliseconds; else the mean time between requests, or between bursts. */
  readonly everyMs: number;
  /** Of a timer: when it fires first. */
  readonly phaseMs: number;
  /** Requests of a burst. */
  readonly burst: number;
  /** Of its requests, in milliseconds. */
  readonly medianMs: number;
  readonly sigma: number;
  /** What a cold start takes, in milliseconds. */
  readonly startMs: number;
  readonly memoryBytes: number;
  readonly priority: number;
}

/** Minutes between the firings of timers, and how many have them. */
const PERIODS = [
  [1, 5],
  [5, 20],
  [10, 10],
  [15, 20],
  [30, 20],
  [60, 25],
] as const;

export function makeFunctions(count: number, random: Random): SimulatedFunction[] {
  return Array.from({ length: count }, (_, i) => {
    const trigger = weighted(random, [
      ['timer', 35],
      ['http', 45],
      ['burst', 20],
    ] as const);
    const period = weighted(random, PERIODS);
    // Half of them come less often than twice an hour, one in twenty more often than every ten seconds.
    const rare = Math.min(DAY_MS, Math.max(1000, logNormal(random, 25 * MINUTE_MS, 3)));
    return {
      name: `f${i}`,
      trigger,
      everyMs: trigger === 'timer' ? period * MINUTE_MS : trigger === 'burst' ? Math.max(10 * MINUTE_MS, rare) : rare,
      phaseMs: Math.floor(random() * period) * MINUTE_MS + random() * 2000,
      burst: 3 + Math.floor(exponential(random, 12)),
      medianMs: Math.min(5000, logNormal(random, 40, 1.3)),
      sigma: 0.8,
      startMs: Math.min(5000, logNormal(random, 250, 0.7)),
      memoryBytes:
        weighted(random, [
          [64, 30],
          [128, 50],
          [256, 20],
        ] as const) *
        2 ** 20,
      priority: weighted(random, [
        [2, 20],
        [5, 60],
        [8, 20],
      ] as const),
    };
  });
}

/** When the next request, or burst, comes after `now`; in milliseconds from then. */
export function nextArrivalMs(of: SimulatedFunction, now: number, random: Random): number {
  if (of.trigger === 'timer') {
    const passed = Math.floor((now - of.phaseMs) / of.everyMs) + 1;
    // Timers are not exact to the millisecond.
    return Math.max(1, of.phaseMs + Math.max(0, passed) * of.everyMs - now + random() * 50);
  }
  // By day twice what there is on the mean, by night next to nothing.
  const day = 1 + 0.8 * Math.sin((now / DAY_MS) * 2 * Math.PI);
  return exponential(random, of.everyMs / day);
}
