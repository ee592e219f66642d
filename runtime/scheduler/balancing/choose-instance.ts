/** Which instance gets a request: the better of two drawn at random, by latency and by what each has in hand. */
import type { ServiceRecord } from './service-record.ts';

export interface Candidate {
  /** Requests that run in it. */
  readonly inFlight: number;
  /** It is frozen: the request has to thaw it first. */
  readonly paused: boolean;
  readonly record: ServiceRecord;
}

export interface Load {
  /** Requests of the revision that run, the one to be placed included. */
  readonly running: number;
  /** Requests that one instance may have at once. */
  readonly concurrency: number;
  readonly now: number;
  /** Gives numbers in [0, 1). */
  readonly random: () => number;
}

/** What it takes to thaw an instance, in milliseconds. */
const THAW_MS = 5;
/** Of an instance that nothing is known of, so that it is tried; in milliseconds. */
const UNKNOWN_MS = 0.1;
/**
 * Of two idle instances the later one is taken when it is known to be so much better: those behind are to rest and go, and
 * are not tried only because long ago is forgotten.
 */
const LATER_IS_BETTER_BY = 0.5;
/** Instances that are passed over because they get no requests, before one of them gets one all the same. */
const PASSED_OVER = 8;

/**
 * Only as many instances as there are requests, and one more, are drawn from: with little to do the last ones rest. An
 * instance that fails is passed over, unless all near it are; one that has as much as it may is never taken while there is
 * another. Undefined when there are none.
 */
export function chooseInstance<T extends Candidate>(instances: readonly T[], load: Load): T | undefined {
  if (instances.length <= 1) return instances[0];
  const among = Math.min(instances.length, load.running + 1);
  const first = drawn(among, load);
  const second = (first + 1 + drawn(among - 1, load)) % among;
  const one = passing(instances, Math.min(first, second), load);
  const other = passing(instances, Math.max(first, second), load);
  const ones = cost(one, load);
  const others = cost(other, load);
  if (ones === Number.POSITIVE_INFINITY && others === ones) return leastBusy(instances, load);
  const idle = one.inFlight === 0 && other.inFlight === 0 && one.paused === other.paused;
  if (!idle) return others < ones ? other : one;
  const { lastMs } = other.record;
  return lastMs > 0 && lastMs < one.record.latencyMs(load.now) * LATER_IS_BETTER_BY ? other : one;
}

function drawn(below: number, { random }: Load): number {
  return Math.min(below - 1, Math.floor(random() * below));
}

/** The instance at `index`, or the next one that takes requests. */
function passing<T extends Candidate>(instances: readonly T[], index: number, { now }: Load): T {
  for (let step = 0; step < PASSED_OVER; step++) {
    const instance = instances[(index + step) % instances.length]!;
    if (instance.record.takes(instance.inFlight, now)) return instance;
  }
  return instances[index]!;
}

function cost({ inFlight, paused, record }: Candidate, { concurrency, now }: Load): number {
  if (inFlight >= concurrency) return Number.POSITIVE_INFINITY;
  return Math.max(UNKNOWN_MS, record.latencyMs(now)) * (inFlight + 1) + (paused ? THAW_MS : 0);
}

/** Both that were drawn are full: then all are looked at. */
function leastBusy<T extends Candidate>(instances: readonly T[], { now }: Load): T {
  const burden = ({ inFlight, record }: T) => inFlight + (record.takes(inFlight, now) ? 0 : 1e9);
  return instances.reduce((best, each) => (burden(each) < burden(best) ? each : best));
}
