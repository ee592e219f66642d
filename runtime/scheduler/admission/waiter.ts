import type { SkerryError } from '../../../errors/skerry-error.ts';

/** A request that asks for a place: exactly one of `run` and `refuse` is called, once. */
export interface Waiter {
  /** On the scheduler's clock, in milliseconds. */
  readonly deadline: number;
  /** True when nobody waits for the answer any more; such a waiter is dropped without a call. */
  readonly aborted: boolean;
  /** How long it will take once it runs, in milliseconds; 0: not known. */
  readonly expectedMs: number;
  /**
   * Somebody who has a place waits for it: a call of another workload. The node's bound on requests at once does not hold
   * it up, since the place that it waits for could be its own caller's.
   */
  readonly nested: boolean;
  /** `now`: on the scheduler's clock. */
  run(now: number): void;
  refuse(error: SkerryError): void;
}
