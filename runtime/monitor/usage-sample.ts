/** What a node and its workloads do at a time: two readings and what lies between them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NO_TOTALS } from './instance-ledger.ts';
import type { Monitor, WorkloadFigures } from './monitor.ts';

/** Counts are those of the window, but for `total`. */
export interface WorkloadSample {
  readonly name: string;
  readonly requestsPerSecond: number;
  readonly errorsPerSecond: number;
  /** Latency that half and 99 % of the window's requests stayed under; null when there were none. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** Of one core: 150 is one and a half. */
  readonly cpuPercent: number;
  /** The most that one sandbox had so far. */
  readonly memoryPeakBytes: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly coldStarts: number;
  readonly warmStarts: number;
  /** Since the node started. */
  readonly total: {
    readonly requests: number;
    readonly errors: number;
    readonly p50Ms: number | null;
    readonly p99Ms: number | null;
    readonly cpuMs: number;
    readonly coldStarts: number;
    readonly warmStarts: number;
    /** Time spent on making sandboxes. */
    readonly startMs: number;
  };
}

export interface UsageSample {
  /** ISO 8601, at the end of the window. */
  readonly time: string;
  readonly windowMs: number;
  readonly node: {
    readonly requestsPerSecond: number;
    readonly errorsPerSecond: number;
    readonly cpuPercent: number;
    /** Resident, shared pages included. */
    readonly memoryBytes: number;
    /** Of that: kept for sandboxes to come. */
    readonly keptBytes: number;
    readonly inFlight: number;
    readonly queued: number;
  };
  readonly workloads: WorkloadSample[];
}

interface Reading {
  readonly at: number;
  readonly cpu: NodeJS.CpuUsage;
  readonly workloads: ReadonlyMap<string, WorkloadReading>;
}

interface WorkloadReading {
  readonly requests: number;
  readonly errors: number;
  readonly latency: Float64Array | undefined;
  readonly instances: WorkloadFigures['instances'];
}

const UNSEEN: WorkloadReading = { requests: 0, errors: 0, latency: undefined, instances: NO_TOTALS };

/** Watches for `windowMs`, then tells. Throws the signal's reason when that is aborted first. */
export async function sampleUsage(monitor: Monitor, windowMs: number, signal: AbortSignal): Promise<UsageSample> {
  const before = read(monitor.figures());
  await sleep(windowMs, undefined, { signal });
  const figures = monitor.figures();
  const after = read(figures);
  const seconds = (after.at - before.at) / 1000;
  const workloads = figures.map((each) => {
    const now = after.workloads.get(each.workload)!;
    const then = before.workloads.get(each.workload) ?? UNSEEN;
    // Counts only fall when the workload was removed and another one of its name came.
    const renewed = now.requests < then.requests || now.instances.coldStarts < then.instances.coldStarts;
    return sampleOf(each, renewed ? UNSEEN : then, now, seconds);
  });
  const sum = (value: (workload: WorkloadSample) => number) =>
    workloads.reduce((total, workload) => total + value(workload), 0);
  const { user, system } = after.cpu;
  return {
    time: new Date().toISOString(),
    windowMs: seconds * 1000,
    node: {
      requestsPerSecond: sum((workload) => workload.requestsPerSecond),
      errorsPerSecond: sum((workload) => workload.errorsPerSecond),
      cpuPercent: (user + system - before.cpu.user - before.cpu.system) / 10_000 / seconds,
      memoryBytes: process.memoryUsage.rss(),
      keptBytes: monitor.keptBytes,
      inFlight: sum((workload) => workload.inFlight),
      queued: sum((workload) => workload.queued),
    },
    workloads,
  };
}

function read(figures: readonly WorkloadFigures[]): Reading {
  const workloads = new Map(
    figures.map(({ workload, instances, requests }) => {
      const counts = [...(requests?.outcomes ?? [])];
      const all = counts.reduce((total, [, count]) => total + count, 0);
      const errors = all - (requests?.outcomes.get('ok') ?? 0);
      return [workload, { requests: all, errors, latency: requests?.latency.copy(), instances }];
    }),
  );
  return { at: performance.now(), cpu: process.cpuUsage(), workloads };
}

function sampleOf(
  figures: WorkloadFigures,
  before: WorkloadReading,
  after: WorkloadReading,
  seconds: number,
): WorkloadSample {
  const { workload, inFlight, queued, instances, requests } = figures;
  const { cpuMs, coldStarts, warmStarts, startMs, memoryBytes } = instances;
  const quantile = (share: number, since?: Float64Array) => requests?.latency.quantile(share, since) ?? null;
  return {
    name: workload,
    requestsPerSecond: (after.requests - before.requests) / seconds,
    errorsPerSecond: (after.errors - before.errors) / seconds,
    p50Ms: quantile(0.5, before.latency),
    p99Ms: quantile(0.99, before.latency),
    cpuPercent: (cpuMs - before.instances.cpuMs) / 10 / seconds,
    memoryPeakBytes: memoryBytes,
    inFlight,
    queued,
    coldStarts: coldStarts - before.instances.coldStarts,
    warmStarts: warmStarts - before.instances.warmStarts,
    total: {
      requests: after.requests,
      errors: after.errors,
      p50Ms: quantile(0.5),
      p99Ms: quantile(0.99),
      cpuMs,
      coldStarts,
      warmStarts,
      startMs,
    },
  };
}
