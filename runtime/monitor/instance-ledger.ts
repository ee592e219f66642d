/** What instances count, over their lives: an instance that ends takes nothing away from the sum. */
import type { Instance, InstanceStats } from '../driver.ts';

/** Sums since the node started, but for the peak. */
export type InstanceTotals = Pick<InstanceStats, 'cpuMs' | 'memoryBytes' | 'coldStarts' | 'warmStarts' | 'startMs'>;

export const NO_TOTALS: InstanceTotals = { cpuMs: 0, memoryBytes: 0, coldStarts: 0, warmStarts: 0, startMs: 0 };

export class InstanceLedger {
  readonly #running = new Set<Instance>();
  #ended = NO_TOTALS;

  /** Counts an instance from its start on, also while it drains. */
  add(instance: Instance): void {
    this.#running.add(instance);
    void instance.exited.then(() => {
      this.#running.delete(instance);
      this.#ended = sum(this.#ended, instance.stats());
    });
  }

  totals(): InstanceTotals {
    return [...this.#running].reduce((total, instance) => sum(total, instance.stats()), this.#ended);
  }
}

/** Memory is not summed: it is the most that one sandbox had. */
function sum(one: InstanceTotals, other: InstanceTotals): InstanceTotals {
  return {
    cpuMs: one.cpuMs + other.cpuMs,
    memoryBytes: Math.max(one.memoryBytes, other.memoryBytes),
    coldStarts: one.coldStarts + other.coldStarts,
    warmStarts: one.warmStarts + other.warmStarts,
    startMs: one.startMs + other.startMs,
  };
}
