/** What the scheduler decided of late, workload by workload, and from what: shown by `skerry decisions`, told to the log. */

export interface Decision {
  /** ISO 8601. */
  readonly at: string;
  readonly workload: string;
  readonly kind: 'placement' | 'scaling' | 'memory' | 'monitor';
  /** For people: what was decided. */
  readonly decision: string;
  readonly inputs: Readonly<Record<string, string | number | boolean>>;
}

/** Kept of a workload. */
const KEPT = 50;

export class DecisionLog {
  /** How many of each kind, those included that are no longer kept. */
  readonly made = new Map<Decision['kind'], number>();
  readonly #decisions = new Map<string, Decision[]>();
  readonly #tell: (decision: Decision) => void;

  /** `tell` gets each as it is made. */
  constructor(tell: (decision: Decision) => void = () => {}) {
    this.#tell = tell;
  }

  add(
    workload: string,
    kind: Decision['kind'],
    decision: string,
    inputs: Decision['inputs'],
    at = new Date().toISOString(),
  ): void {
    const made = { at, workload, kind, decision, inputs };
    const kept = this.#decisions.get(workload) ?? [];
    kept.push(made);
    if (kept.length > KEPT) kept.shift();
    this.#decisions.set(workload, kept);
    this.made.set(kind, (this.made.get(kind) ?? 0) + 1);
    this.#tell(made);
  }

  /** The oldest first. */
  of(workload: string): readonly Decision[] {
    return this.#decisions.get(workload) ?? [];
  }

  forget(workload: string): void {
    this.#decisions.delete(workload);
  }
}
