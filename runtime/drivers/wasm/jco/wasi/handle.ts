/** Every object of the host that a guest holds by a handle is counted, since it takes memory outside the guest's own. */
import { HostTrap } from './failure.ts';

/** More than any real guest holds at once; the host's side of each is below a kilobyte. */
const handleLimit = 10_000;

let live = 0;

/** A new instance holds nothing yet. */
export function resetHandles(): void {
  live = 0;
}

export class Handle {
  #open = true;

  constructor() {
    if (++live > handleLimit) throw new HostTrap(`more than ${handleLimit} handles at once`);
  }

  /** The guest no longer holds it: it was dropped, or given back to the host. */
  release(): void {
    if (!this.#open) return;
    this.#open = false;
    live--;
    this.closed();
  }

  /** What else ends with the handle. */
  protected closed(): void {}

  [Symbol.dispose](): void {
    this.release();
  }
}
