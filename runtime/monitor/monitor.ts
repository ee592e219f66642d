/** What each workload has done and uses, in one place: told by the dispatcher and the reconciler, read by whoever shows it. */
import type { Instance } from '../driver.ts';
import type { Snapshot } from '../snapshot.ts';
import { InstanceLedger, type InstanceTotals, NO_TOTALS } from './instance-ledger.ts';
import { RequestMetrics, type RequestSeries } from './request-metrics.ts';

/** Of one workload, all its revisions together. Counters begin with the node and outlive instances and revisions. */
export interface WorkloadFigures {
  readonly workload: string;
  readonly inFlight: number;
  readonly queued: number;
  /** Instances that serve. */
  readonly serving: number;
  readonly instances: InstanceTotals;
  /** Undefined until it was asked for something. */
  readonly requests: RequestSeries | undefined;
}

export class Monitor {
  readonly #requests = new RequestMetrics();
  readonly #ledgers = new Map<string, InstanceLedger>();
  readonly #snapshot: () => Snapshot;
  readonly #keptBytes: () => number;

  /** `keptBytes`: what drivers keep in memory for sandboxes to come. */
  constructor(snapshot: () => Snapshot, keptBytes: () => number) {
    this.#snapshot = snapshot;
    this.#keptBytes = keptBytes;
  }

  /** A request is over; `code` is null when it went well. */
  observe(workload: string, durationMs: number, code: string | null): void {
    this.#requests.observe(workload, durationMs, code);
  }

  started(instance: Instance): void {
    const { workload } = instance.revision;
    let ledger = this.#ledgers.get(workload);
    if (!ledger) {
      ledger = new InstanceLedger();
      this.#ledgers.set(workload, ledger);
    }
    ledger.add(instance);
  }

  forget(workload: string): void {
    this.#requests.forget(workload);
    this.#ledgers.delete(workload);
  }

  get keptBytes(): number {
    return this.#keptBytes();
  }

  figures(): WorkloadFigures[] {
    const { workloads } = this.#snapshot();
    const names = new Set([...workloads.keys(), ...this.#requests.workloads, ...this.#ledgers.keys()]);
    return [...names].map((workload) => {
      let inFlight = 0;
      let queued = 0;
      let serving = 0;
      for (const { admission, instances } of workloads.get(workload)?.revisions.values() ?? []) {
        inFlight += admission.running;
        queued += admission.queued;
        serving += instances.length;
      }
      const instances = this.#ledgers.get(workload)?.totals() ?? NO_TOTALS;
      return { workload, inFlight, queued, serving, instances, requests: this.#requests.of(workload) };
    });
  }
}
