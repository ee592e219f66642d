/** The node's figures as families of prom-client. Their values are made when they are asked for, from what is counted anyway. */
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import { PROMETHEUS_BOUNDS_MS } from './latency-histogram.ts';
import type { Monitor, WorkloadFigures } from './monitor.ts';

interface Sample {
  readonly value: number;
  readonly labels: Record<string, string | number>;
  /** Where a family has several: `NAME_bucket`, `NAME_sum`, `NAME_count`. */
  readonly metricName?: string;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  samples(figures: readonly WorkloadFigures[]): Sample[];
}

/** A figure of each workload. */
function perWorkload(
  type: Family['type'],
  name: string,
  help: string,
  value: (figures: WorkloadFigures) => number,
): Family {
  const samples = (all: readonly WorkloadFigures[]) =>
    all.map((figures) => ({ labels: { workload: figures.workload }, value: value(figures) }));
  return { name, help, type, samples };
}

const requestsTotal: Family = {
  name: 'skerry_requests_total',
  help: 'Requests by workload and outcome.',
  type: 'counter',
  samples: (all) =>
    all.flatMap(({ workload, requests }) =>
      [...(requests?.outcomes ?? [])].map(([outcome, value]) => ({ labels: { workload, outcome }, value })),
    ),
};

const requestDuration: Family = {
  name: 'skerry_request_duration_seconds',
  help: 'From arrival to the end of the answer.',
  type: 'histogram',
  samples: (all) => all.flatMap(({ workload, requests }) => (requests ? durationSamples(workload, requests) : [])),
};

function durationSamples(workload: string, { latency }: NonNullable<WorkloadFigures['requests']>): Sample[] {
  const { upTo, count } = latency.cumulative();
  const bucket = (le: number | string, value: number): Sample => {
    return { metricName: `${requestDuration.name}_bucket`, labels: { workload, le }, value };
  };
  return [
    ...upTo.map((value, i) => bucket(PROMETHEUS_BOUNDS_MS[i]! / 1000, value)),
    bucket('+Inf', count),
    { metricName: `${requestDuration.name}_sum`, labels: { workload }, value: latency.sumMs / 1000 },
    { metricName: `${requestDuration.name}_count`, labels: { workload }, value: count },
  ];
}

const sandboxStarts: Family = {
  name: 'skerry_workload_sandboxes_total',
  help: 'Requests by what they were served in: a sandbox made for them (cold) or one that had served before (warm).',
  type: 'counter',
  samples: (all) =>
    all.flatMap(({ workload, instances }) => [
      { labels: { workload, start: 'cold' }, value: instances.coldStarts },
      { labels: { workload, start: 'warm' }, value: instances.warmStarts },
    ]),
};

const families: readonly Family[] = [
  requestsTotal,
  requestDuration,
  perWorkload('gauge', 'skerry_requests_in_flight', 'Requests being served.', ({ inFlight }) => inFlight),
  perWorkload('gauge', 'skerry_requests_queued', 'Requests that wait for a place.', ({ queued }) => queued),
  perWorkload('gauge', 'skerry_workload_instances', 'Instances that serve.', ({ serving }) => serving),
  perWorkload('counter', 'skerry_workload_cpu_seconds_total', 'CPU time of its sandboxes.', ({ instances }) => {
    return instances.cpuMs / 1000;
  }),
  perWorkload(
    'gauge',
    'skerry_workload_memory_peak_bytes',
    'The most memory that one sandbox had.',
    ({ instances }) => {
      return instances.memoryBytes;
    },
  ),
  sandboxStarts,
  perWorkload('counter', 'skerry_workload_start_seconds_total', 'Time spent on making sandboxes.', ({ instances }) => {
    return instances.startMs / 1000;
  }),
];

/** What the scheduler has of the node as a whole. */
export interface NodeFigures {
  readonly admission: { readonly running: number; readonly waiting: number };
  readonly memory: { readonly usedBytes: number; readonly totalBytes: number };
  /** By kind, since the node started. */
  readonly decisions: { readonly made: ReadonlyMap<string, number> };
}

/** A registry with the figures of the node's own process, of its scheduler and of every workload. */
export function prometheusRegistry(monitor: Monitor, { admission, memory, decisions }: NodeFigures): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const figures = oncePerTurn(() => monitor.figures());
  for (const { name, help, type, samples } of families) register(registry, name, help, type, () => samples(figures()));
  register(registry, 'skerry_kept_memory_bytes', 'Memory kept for sandboxes to come.', 'gauge', () => {
    return [{ labels: {}, value: monitor.keptBytes }];
  });
  const gauge = (name: string, help: string, value: () => number) =>
    register(registry, name, help, 'gauge', () => [{ labels: {}, value: value() }]);
  gauge('skerry_node_requests_running', 'Requests that have a place of the node.', () => admission.running);
  gauge('skerry_node_requests_waiting', 'Requests that wait, of all workloads.', () => admission.waiting);
  gauge('skerry_node_memory_claimed_bytes', 'What instances may have of memory.', () => memory.usedBytes);
  gauge('skerry_node_memory_ceiling_bytes', 'What they may have at most, together.', () => memory.totalBytes);
  register(registry, 'skerry_decisions_total', 'Decisions of the scheduler by kind.', 'counter', () => {
    return [...decisions.made].map(([kind, value]) => ({ labels: { kind }, value }));
  });
  return registry;
}

/** The families of one answer are asked for in one turn, and are told of one moment. */
function oncePerTurn<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    if (!made) {
      made = { value: make() };
      queueMicrotask(() => {
        made = null;
      });
    }
    return made.value;
  };
}

/** prom-client asks a metric for nothing but this; its own histograms cannot be filled with counts. */
function register(registry: Registry, name: string, help: string, type: Family['type'], values: () => Sample[]): void {
  const metric = { name, help, type, aggregator: 'sum', get: async () => ({ name, help, type, values: values() }) };
  registry.registerMetric(metric as unknown as Metric);
}
