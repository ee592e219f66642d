import type { Gauges } from '../runtime/monitor/request-metrics.ts';
import type { Snapshot } from '../runtime/snapshot.ts';

/** What each workload uses now, summed over its revisions. */
export function gaugesOf(snapshot: Snapshot): Gauges[] {
  return [...snapshot.workloads.values()].map((workload) => {
    const total = { workload: workload.name, inFlight: 0, queued: 0, cpuMs: 0, memoryBytes: 0 };
    for (const { admission, instances } of workload.revisions.values()) {
      total.inFlight += admission.running;
      total.queued += admission.queued;
      for (const instance of instances) {
        const stats = instance.stats();
        total.cpuMs += stats.cpuMs;
        total.memoryBytes += stats.memoryBytes;
      }
    }
    return total;
  });
}
