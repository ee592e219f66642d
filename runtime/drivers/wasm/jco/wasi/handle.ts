/** Every object of the host that a guest holds by a handle is counted, since it takes memory outside the guest's own. */
import { HostTrap } from './failure.ts';

/** More than any real guest holds at once; the host's side of each is below a kilobyte. */
const handleLimit = 10_000;
/**
 * The JavaScript engine leaves a handle behind for each piece of a body that it reads: what a guest has read raises what it
 * may hold, by so many at most (as in native/wasm/src/host.rs).
 */
const bytesPerHandle = 8 * 1024;
const moreHandles = 256 * 1024;

/** How many handles an instance holds. */
export class HandleBudget {
  live = 0;
  /** Bytes of bodies that the guest has read. */
  read = 0;

  get limit(): number {
    return handleLimit + Math.min(moreHandles, Math.floor(this.read / bytesPerHandle));
  }
}

let current = new HandleBudget();

/** What is made from here on is held by the instance with this budget. */
export function setHandleBudget(budget: HandleBudget): void {
  current = budget;
}

/** The instance can hold no more: what would make one handle too many is told so, where its interface has a way to say it. */
export function handlesFull(): boolean {
  return current.live >= current.limit;
}

/** The instance that runs has read so much of a body. */
export function noteRead(bytes: number): void {
  current.read += bytes;
}

export class Handle {
  readonly #budget = current;
  #open = true;

  constructor() {
    const { limit } = this.#budget;
    if (++this.#budget.live > limit) throw new HostTrap(`more than ${limit} handles at once`);
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
