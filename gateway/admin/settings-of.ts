/** The settings that would deploy a workload as it is now: what `skerry export` writes. */
import type { RevisionDocument, WorkloadDocument } from '../../runtime/workload/documents.ts';
import type { WorkloadSettings } from '../../runtime/workload/settings.ts';
import { formatDuration } from '../../runtime/workload/units.ts';

/** Sizes that the binary units do not write exactly stay in bytes. */
function exactBytes(bytes: number): string {
  for (const [unit, factor] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}

export function settingsOf(workload: WorkloadDocument, revision: RevisionDocument): WorkloadSettings {
  const { limits } = revision;
  return {
    isolation: revision.isolation,
    memory: exactBytes(limits.memoryBytes),
    cpus: limits.cpuMillicores / 1000,
    timeout: formatDuration(limits.timeoutMs),
    'start-timeout': formatDuration(limits.startTimeoutMs),
    concurrency: limits.concurrency,
    queue: workload.queue,
    priority: revision.priority,
    ...(Object.keys(revision.env).length > 0 ? { env: { ...revision.env } } : {}),
    ...(revision.secrets.length > 0 ? { secrets: [...revision.secrets] } : {}),
    ...(revision.allow.length > 0 ? { allow: [...revision.allow] } : {}),
    'keyvalue-quota': exactBytes(revision.keyvalueQuotaBytes),
    ...(workload.routes.length > 0 ? { routes: [...workload.routes] } : {}),
    reuse: revision.reuse,
    min: workload.scale.min,
    max: workload.scale.max,
    idle: formatDuration(workload.scale.idleMs),
  };
}
