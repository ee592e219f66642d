/**
 * Sees to it that instances are there before requests have to wait: shows each workload's load to its monitors and makes one
 * number of what they find. What runs now and what waits now is counted elsewhere (`replicas.ts`): this only adds to it.
 */
import { DemandMonitor } from '../../monitor/learned/demand-monitor.ts';
import type { Finding, LoadMonitor, LoadSample, MonitorKind } from '../../monitor/load-sample.ts';
import { QueueMonitor } from '../../monitor/model/queue-monitor.ts';
import { SurgeMonitor } from '../../monitor/statistical/surge-monitor.ts';
import type { DecisionLog } from '../decisions.ts';
import { Advice } from './advice.ts';

/** What is counted of a revision's requests since it is served; see `admission/lane.ts`. */
export interface LoadCounters {
  readonly arrived: number;
  readonly begun: number;
  /** Time that those who began had waited, in milliseconds. */
  readonly waitedMs: number;
  /** What a request takes once it runs: its mean, 0 for not known, and its squared coefficient of variation. */
  readonly meanMs: number;
  readonly scv: number;
}

/** A revision that gets requests, as the scaler sees it. */
export interface Scaled {
  readonly workload: string;
  readonly load: LoadCounters;
  readonly instanceCount: number;
  readonly concurrency: number;
  /** Instances at most. */
  readonly most: number;
  /** The wait that is still good, in milliseconds. */
  readonly objectiveMs: number;
  /** Instances that there should be at least; 0: no opinion. `quiet`: no request is to come soon. */
  advise(instances: number, quiet: boolean): void;
}

export type MonitorMaker = () => LoadMonitor;

export const MONITOR_MAKERS: Readonly<Record<MonitorKind, MonitorMaker>> = {
  statistical: () => new SurgeMonitor(),
  model: () => new QueueMonitor(),
  learned: () => new DemandMonitor(),
};

export interface AutoscalerOptions {
  /** Those that are switched on. */
  readonly monitors: ReadonlyMap<MonitorKind, MonitorMaker>;
  readonly decisions: DecisionLog;
}

interface Watched {
  readonly monitors: Map<MonitorKind, LoadMonitor>;
  readonly advice: Advice;
  quiet: boolean;
  findings: readonly Finding[];
  at: number;
  arrived: number;
  begun: number;
  waitedMs: number;
}

export class Autoscaler {
  readonly #options: AutoscalerOptions;
  readonly #watched = new WeakMap<Scaled, Watched>();

  constructor(options: AutoscalerOptions) {
    this.#options = options;
  }

  /** What its monitors saw at the last look. */
  findings(scaled: Scaled): readonly Finding[] {
    return this.#watched.get(scaled)?.findings ?? [];
  }

  /** One look at each, every second or so. `now`: on the scheduler's clock, in milliseconds. */
  tick(now: number, all: Iterable<Scaled>): void {
    for (const scaled of all) {
      const watched = this.#watched.get(scaled);
      if (!watched) this.#begin(scaled, now);
      // A clock that stands still or goes back shows nothing.
      else if (now > watched.at) this.#look(scaled, watched, now);
    }
  }

  #begin(scaled: Scaled, now: number): void {
    const { arrived, begun, waitedMs } = scaled.load;
    const monitors = new Map([...this.#options.monitors].map(([kind, make]) => [kind, make()]));
    const counters = { at: now, arrived, begun, waitedMs };
    this.#watched.set(scaled, { monitors, advice: new Advice(), quiet: false, findings: [], ...counters });
  }

  #look(scaled: Scaled, watched: Watched, now: number): void {
    const sample = sampleOf(scaled, watched, now);
    const { arrived, begun, waitedMs } = scaled.load;
    Object.assign(watched, { at: now, arrived, begun, waitedMs });
    const before = watched.findings;
    watched.findings = [...watched.monitors].flatMap(([kind, monitor]) => {
      const finding = this.#ask(scaled, watched, kind, monitor, sample);
      return finding ? [finding] : [];
    });
    for (const finding of watched.findings) {
      const alarm = finding.instances === null && !before.some(({ monitor }) => monitor === finding.monitor);
      if (alarm) this.#note(scaled, 'monitor', finding.sees, finding);
    }
    const [reason] = watched.findings
      .filter(({ instances }) => instances !== null)
      .sort((a, b) => b.instances! - a.instances!);
    const changed = watched.advice.take(reason?.instances ?? 0, scaled.instanceCount, scaled.most, now);
    const { instances } = watched.advice;
    const quiet = instances === 0 && reason?.instances === 0;
    if (!changed && quiet === watched.quiet) return;
    watched.quiet = quiet;
    if (instances > scaled.instanceCount && reason) {
      this.#note(scaled, 'scaling', `at least ${instances} instances, from ${scaled.instanceCount}`, reason);
    }
    scaled.advise(instances, quiet);
  }

  /** A monitor that throws is asked no more: the others and the counting go on. */
  #ask(scaled: Scaled, watched: Watched, kind: MonitorKind, monitor: LoadMonitor, sample: LoadSample): Finding | null {
    try {
      return monitor.observe(sample);
    } catch (error) {
      watched.monitors.delete(kind);
      const why = error instanceof Error ? error.message : String(error);
      this.#options.decisions.add(scaled.workload, 'monitor', `the ${kind} monitor failed and is switched off`, {
        why,
      });
      return null;
    }
  }

  #note(scaled: Scaled, kind: 'scaling' | 'monitor', decision: string, { monitor, sees, sure }: Finding): void {
    this.#options.decisions.add(scaled.workload, kind, decision, { monitor, sees, sure: Number(sure.toFixed(2)) });
  }
}

function sampleOf(scaled: Scaled, before: Watched, now: number): LoadSample {
  const { load, instanceCount, concurrency, objectiveMs } = scaled;
  const begun = load.begun - before.begun;
  return {
    at: now,
    windowMs: now - before.at,
    arrivals: load.arrived - before.arrived,
    waitMs: begun > 0 ? (load.waitedMs - before.waitedMs) / begun : 0,
    serviceMs: load.meanMs,
    serviceScv: load.scv,
    instances: instanceCount,
    concurrency,
    objectiveMs,
  };
}
