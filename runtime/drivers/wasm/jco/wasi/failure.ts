/** How a guest's run ends other than by returning: errors that unwind the guest's stack. */
import type { Failure } from '../protocol.ts';

/** Ends the run with a row of the error table. The guest cannot catch its meaning: the run keeps it. */
export class RunFailure extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.why);
    this.failure = failure;
  }
}

/** A call that breaks the rules of an interface: a trap. */
export class HostTrap extends Error {}
