/** Time as the scheduler sees it: the node's own, or that of a simulation. */
import { MAX_TIMER_MS } from '../timers.ts';

export interface Alarm {
  cancel(): void;
}

export interface Clock {
  /** In milliseconds; never goes back. */
  now(): number;
  /** Calls back once, when that has passed; does not keep the process alive. */
  after(ms: number, call: () => void): Alarm;
}

/** The clock of `performance.now()`: a change of the machine's date does not move it. */
export const nodeClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(Math.max(1, Math.ceil(ms)), MAX_TIMER_MS));
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
