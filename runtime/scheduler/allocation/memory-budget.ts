/**
 * The memory ceiling of the node: what runs and what is being started fits under it. When it does not, the least valuable goes
 * first: what is frozen, then what is idle, then what serves a less urgent workload. What is kept ready (`--min`) stays.
 */

export interface Holder {
  readonly workload: string;
  readonly bytes: number;
  /** 0-9, 9 the most urgent. */
  readonly priority: number;
  readonly state: 'frozen' | 'idle' | 'busy';
  /** It is one of those that are kept ready. */
  readonly reserved: boolean;
  /** On the scheduler's clock. */
  readonly idleSince: number;
  /** Resolves when its memory is free. */
  evict(): Promise<void>;
}

const VALUE = { frozen: 0, idle: 1, busy: 2 } as const;

/**
 * Whom to end so that `needed` bytes come free for something of this priority; the least valuable first, and none more than
 * it takes. Null when that is not enough: then nobody is to end.
 */
export function chooseVictims(needed: number, priority: number, holders: readonly Holder[]): readonly Holder[] | null {
  const candidates = holders
    .filter((holder) => !holder.reserved && holder.priority <= priority - (holder.state === 'busy' ? 1 : 0))
    .sort((a, b) => VALUE[a.state] - VALUE[b.state] || a.priority - b.priority || a.idleSince - b.idleSince);
  const victims: Holder[] = [];
  let free = 0;
  for (const holder of candidates) {
    if (free >= needed) break;
    victims.push(holder);
    free += holder.bytes;
  }
  return free >= needed ? victims : null;
}

export interface Claim {
  readonly bytes: number;
  readonly priority: number;
}

/** Gives its memory back; more than once is once. */
export type Release = () => void;

export class MemoryBudget {
  readonly totalBytes: number;
  readonly #holders: () => readonly Holder[];
  #usedBytes = 0;
  /** One after the other: two that come at once do not end the same. */
  #turn: Promise<unknown> = Promise.resolve();

  /** `holders`: those who hold something now and could be ended. */
  constructor(totalBytes: number, holders: () => readonly Holder[]) {
    this.totalBytes = totalBytes;
    this.#holders = holders;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Null when there is no room, and none to be made. `ended` hears who has to go, before they do. */
  claim(claim: Claim, ended: (victims: readonly Holder[]) => void): Promise<Release | null> {
    const turn = this.#turn.then(() => this.#claim(claim, ended));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #claim({ bytes, priority }: Claim, ended: (victims: readonly Holder[]) => void): Promise<Release | null> {
    const missing = this.#usedBytes + bytes - this.totalBytes;
    if (missing > 0) {
      const victims = chooseVictims(missing, priority, this.#holders());
      if (!victims) return null;
      ended(victims);
      await Promise.all(victims.map((victim) => victim.evict()));
      if (this.#usedBytes + bytes > this.totalBytes) return null;
    }
    this.#usedBytes += bytes;
    let held = true;
    return () => {
      if (held) this.#usedBytes -= bytes;
      held = false;
    };
  }
}
