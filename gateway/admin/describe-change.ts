/** A planned change in words, a line a field. */

import type { Change } from '../../runtime/workload/desired-state.ts';
import type { RevisionDocument, WorkloadDocument } from '../../runtime/workload/documents.ts';
import { formatBytes, formatDuration } from '../../runtime/workload/units.ts';

type Fields = Record<string, string>;

function fields(workload: WorkloadDocument | null, revision: RevisionDocument | null): Fields {
  if (!workload) return {};
  const shown: Fields = {
    routes: workload.routes.join(' ') || 'default',
    min: String(workload.scale.min),
    max: String(workload.scale.max),
    idle: formatDuration(workload.scale.idleMs),
    queue: String(workload.queue),
    traffic: workload.traffic.map((share) => `${share.revision}=${share.percent}`).join(' '),
  };
  if (!revision) return shown;
  const { limits } = revision;
  return {
    image: revision.artifact.digest,
    isolation: revision.isolation,
    memory: formatBytes(limits.memoryBytes),
    cpus: String(limits.cpuMillicores / 1000),
    timeout: formatDuration(limits.timeoutMs),
    'start-timeout': formatDuration(limits.startTimeoutMs),
    concurrency: String(limits.concurrency),
    priority: String(revision.priority),
    reuse: String(revision.reuse),
    env: Object.entries(revision.env)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
    secrets: revision.secrets.join(' '),
    allow: revision.allow.join(' '),
    'keyvalue-quota': formatBytes(revision.keyvalueQuotaBytes),
    ...shown,
  };
}

/** `memory: 64MiB -> 128MiB`; for a new workload `memory: 64MiB`. */
export function describeChange(change: Change, before: RevisionDocument | null, after: RevisionDocument): string[] {
  const old = fields(change.before, before);
  const next = fields(change.after, after);
  return Object.entries(next)
    .filter(([key, value]) => value !== '' && value !== old[key])
    .map(([key, value]) => (old[key] === undefined ? `${key}: ${value}` : `${key}: ${old[key]} -> ${value}`));
}
