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

/** Bytes of header sets and messages that the memory limit leaves out (as in native/wasm/src/limits.rs). */
const freeBytes = 512 * 1024;

/** How many handles an instance holds, and what stands behind them. */
export class HandleBudget {
  live = 0;
  /** Bytes of bodies that the guest has read. */
  read = 0;
  /** Bytes of header sets and messages. */
  #kept = 0;
  /** More was asked for than the instance may have. */
  exceeded = false;
  /** The instance's limit of memory in bytes. */
  readonly #memoryLimit: number;
  /** Bytes of its memories now. */
  readonly #memory: () => number;

  constructor(memoryLimit = Number.POSITIVE_INFINITY, memory = () => 0) {
    this.#memoryLimit = memoryLimit;
    this.#memory = memory;
  }

  /** Takes bytes more; the guest's memory limit holds for them too. */
  grow(bytes: number): void {
    this.receive(bytes);
    const beyond = this.#kept - freeBytes;
    if (beyond <= 0 || beyond + this.#memory() <= this.#memoryLimit) return;
    this.exceeded = true;
    throw new HostTrap('total size of header sets and messages exceeds the memory limit');
  }

  /** Takes bytes more of what the guest did not make itself. */
  receive(bytes: number): void {
    this.#kept += bytes;
  }

  shrink(bytes: number): void {
    this.#kept -= bytes;
  }

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
  /** What it has the host keep, in bytes. */
  #charged = 0;

  constructor() {
    const { limit } = this.#budget;
    if (++this.#budget.live > limit) throw new HostTrap(`more than ${limit} handles at once`);
  }

  /** The guest no longer holds it: it was dropped, or given back to the host. */
  release(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#budget.live--;
    this.#budget.shrink(this.#charged);
    this.closed();
  }

  /** It has the host keep so many bytes more, or less; a trap when that is more than the instance may have. */
  protected charge(bytes: number): void {
    this.#charged += bytes;
    if (bytes > 0) this.#budget.grow(bytes);
    else this.#budget.shrink(-bytes);
  }

  /** The same for what came from outside: counted, and not refused. */
  protected chargeReceived(bytes: number): void {
    this.#charged += bytes;
    this.#budget.receive(bytes);
  }

  /** What else ends with the handle. */
  protected closed(): void {}

  [Symbol.dispose](): void {
    this.release();
  }
}
