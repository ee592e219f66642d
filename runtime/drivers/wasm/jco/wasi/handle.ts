/** Every object of the host that a guest holds by a handle is counted, since it takes memory outside the guest's own. */
import { HostTrap } from './failure.ts';

/** More than any real guest holds at once; the host's side of each is below a kilobyte. */
const handleLimit = 10_000;

/** How many handles an instance holds. */
export class HandleBudget {
  live = 0;
}

let current = new HandleBudget();

/** What is made from here on is held by the instance with this budget. */
export function setHandleBudget(budget: HandleBudget): void {
  current = budget;
}

/** The instance can hold no more: what would make one handle too many is told so, where its interface has a way to say it. */
export function handlesFull(): boolean {
  return current.live >= handleLimit;
}

export class Handle {
  readonly #budget = current;
  #open = true;

  constructor() {
    if (++this.#budget.live > handleLimit) throw new HostTrap(`more than ${handleLimit} handles at once`);
  }

  /** The guest no longer holds it: it was dropped, or given back to the host. */
  release(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#budget.live--;
    this.closed();
  }

  /** What else ends with the handle. */
  protected closed(): void {}

  [Symbol.dispose](): void {
    this.release();
  }
}
