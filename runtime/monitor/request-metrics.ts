/** Counts and latencies of requests, a workload each; cheap enough for every request. */
import { LatencyHistogram } from './latency-histogram.ts';

export interface RequestSeries {
  /** By outcome: `ok` or an error's code. */
  readonly outcomes: ReadonlyMap<string, number>;
  readonly latency: LatencyHistogram;
}

export class RequestMetrics {
  readonly #series = new Map<string, { outcomes: Map<string, number>; latency: LatencyHistogram }>();

  /** `code` is null for a request that went well. */
  observe(workload: string, durationMs: number, code: string | null): void {
    let series = this.#series.get(workload);
    if (!series) {
      series = { outcomes: new Map(), latency: new LatencyHistogram() };
      this.#series.set(workload, series);
    }
    const outcome = code ?? 'ok';
    series.outcomes.set(outcome, (series.outcomes.get(outcome) ?? 0) + 1);
    series.latency.observe(durationMs);
  }

  forget(workload: string): void {
    this.#series.delete(workload);
  }

  /** Workloads that were asked for something. */
  get workloads(): Iterable<string> {
    return this.#series.keys();
  }

  of(workload: string): RequestSeries | undefined {
    return this.#series.get(workload);
  }
}
