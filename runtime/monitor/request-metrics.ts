/** Counts and latencies of requests, a workload each; cheap enough for every request, rendered for Prometheus. */

/** Upper bounds of the latency histogram, in seconds. */
const BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

interface Series {
  /** By outcome: `ok` or an error's code. */
  readonly outcomes: Map<string, number>;
  /** One more than the bounds: the last counts what is above all of them. */
  readonly buckets: number[];
  sumMs: number;
}

export interface Gauges {
  readonly workload: string;
  readonly inFlight: number;
  readonly queued: number;
  readonly cpuMs: number;
  readonly memoryBytes: number;
}

export class RequestMetrics {
  readonly #series = new Map<string, Series>();

  /** `code` is null for a request that went well. */
  observe(workload: string, durationMs: number, code: string | null): void {
    let series = this.#series.get(workload);
    if (!series) {
      series = { outcomes: new Map(), buckets: new Array(BUCKETS_S.length + 1).fill(0), sumMs: 0 };
      this.#series.set(workload, series);
    }
    const outcome = code ?? 'ok';
    series.outcomes.set(outcome, (series.outcomes.get(outcome) ?? 0) + 1);
    const seconds = durationMs / 1000;
    let bucket = 0;
    while (bucket < BUCKETS_S.length && seconds > (BUCKETS_S[bucket] as number)) bucket++;
    series.buckets[bucket] = (series.buckets[bucket] as number) + 1;
    series.sumMs += durationMs;
  }

  forget(workload: string): void {
    this.#series.delete(workload);
  }

  /** In the text format of Prometheus. */
  render(gauges: readonly Gauges[]): string {
    return [...this.#renderCounts(), ...this.#renderLatencies(), ...renderGauges(gauges), ''].join('\n');
  }

  #renderCounts(): string[] {
    const lines = [
      '# HELP skerry_requests_total Requests by workload and outcome.',
      '# TYPE skerry_requests_total counter',
    ];
    for (const [workload, series] of this.#series) {
      for (const [outcome, count] of series.outcomes) {
        lines.push(`skerry_requests_total{workload="${workload}",outcome="${outcome}"} ${count}`);
      }
    }
    return lines;
  }

  #renderLatencies(): string[] {
    const name = 'skerry_request_duration_seconds';
    const lines = [`# HELP ${name} From arrival to the end of the answer.`, `# TYPE ${name} histogram`];
    for (const [workload, series] of this.#series) {
      let total = 0;
      series.buckets.forEach((count, i) => {
        total += count;
        lines.push(`${name}_bucket{workload="${workload}",le="${BUCKETS_S[i] ?? '+Inf'}"} ${total}`);
      });
      lines.push(`${name}_sum{workload="${workload}"} ${series.sumMs / 1000}`);
      lines.push(`${name}_count{workload="${workload}"} ${total}`);
    }
    return lines;
  }
}

function renderGauges(gauges: readonly Gauges[]): string[] {
  const families: [string, string, string, (gauge: Gauges) => number][] = [
    ['skerry_requests_in_flight', 'gauge', 'Requests being served.', (gauge) => gauge.inFlight],
    ['skerry_requests_queued', 'gauge', 'Requests that wait for a place.', (gauge) => gauge.queued],
    ['skerry_workload_cpu_seconds_total', 'counter', 'CPU time of what runs now.', (gauge) => gauge.cpuMs / 1000],
    ['skerry_workload_memory_bytes', 'gauge', 'Memory of what runs now.', (gauge) => gauge.memoryBytes],
  ];
  return families.flatMap(([name, type, help, value]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...gauges.map((gauge) => `${name}{workload="${gauge.workload}"} ${value(gauge)}`),
  ]);
}
