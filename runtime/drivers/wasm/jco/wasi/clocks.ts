/** wasi:clocks/*. */
import { now } from '../clock.ts';
import { Pollable } from './io.ts';

const nanosPerMs = 1e6;
/** Longer than any deadline; a Number of nanoseconds beyond it would be inexact anyway. */
const longest = 1e15;

/** Nanoseconds on the clock of `performance.now()`, so that pollables and readings agree. */
function nowNanos(): bigint {
  return BigInt(Math.round(now() * nanosPerMs));
}

function at(ms: number): Pollable {
  return new Pollable({ ready: () => now() >= ms, at: ms });
}

function toMs(nanos: bigint): number {
  return Math.min(Number(nanos), longest) / nanosPerMs;
}

function wallNow() {
  const ms = Date.now();
  return { seconds: BigInt(Math.floor(ms / 1000)), nanoseconds: (ms % 1000) * nanosPerMs };
}

const utc = { utcOffset: 0, name: 'UTC', inDaylightSavingTime: false };

export const clocks = {
  'wasi:clocks/monotonic-clock': {
    now: nowNanos,
    resolution: () => 1000n,
    subscribeInstant: (when: bigint) => at(toMs(when)),
    subscribeDuration: (duration: bigint) => at(now() + toMs(duration)),
  },
  'wasi:clocks/wall-clock': {
    now: wallNow,
    resolution: () => ({ seconds: 0n, nanoseconds: nanosPerMs }),
  },
  'wasi:clocks/timezone': { display: () => utc, utcOffset: () => 0 },
};
