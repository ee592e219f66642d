/** A planned change in words, a line a field. */
import type { Change } from '../../runtime/workload/desired-state.ts';
import type { RevisionDocument, WorkloadDocument } from '../../runtime/workload/documents.ts';
import { formatBytes, formatDuration } from '../../runtime/workload/units.ts';

type Fields = Record<string, string>;

function workloadFields({ routes, scale, queue, traffic }: WorkloadDocument): Fields {
  return {
    routes: routes.join(' ') || 'default',
    min: String(scale.min),
    max: String(scale.max),
    idle: formatDuration(scale.idleMs),
    queue: String(queue),
    traffic: traffic.map((share) => `${share.revision}=${share.percent}`).join(' '),
  };
}

function revisionFields(revision: RevisionDocument): Fields {
  const { artifact, isolation, limits, priority, reuse, env, secrets, allow, keyvalueQuotaBytes } = revision;
  return {
    image: artifact.digest,
    isolation,
    memory: formatBytes(limits.memoryBytes),
    cpus: String(limits.cpuMillicores / 1000),
    timeout: formatDuration(limits.timeoutMs),
    'cpu-time': limits.cpuTimeMs === undefined ? 'what fits' : formatDuration(limits.cpuTimeMs),
    'start-timeout': formatDuration(limits.startTimeoutMs),
    concurrency: String(limits.concurrency),
    'max-request': formatBytes(limits.maxRequestBytes),
    'max-response': formatBytes(limits.maxResponseBytes),
    priority: String(priority),
    reuse: String(reuse),
    env: Object.entries(env)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
    secrets: secrets.join(' '),
    allow: allow.join(' '),
    'keyvalue-quota': formatBytes(keyvalueQuotaBytes),
  };
}

/** `memory: 64MiB -> 128MiB`; for what was not there before `memory: 64MiB`. */
function difference(old: Fields, next: Fields): string[] {
  return Object.entries(next)
    .filter(([key, value]) => value !== (old[key] ?? ''))
    .map(([key, value]) => (old[key] === undefined ? `${key}: ${value}` : `${key}: ${old[key]} -> ${value}`));
}

/**
 * `before` is the revision that had most of the traffic, `after` those that get it. Where they are several, the fields of
 * one stand behind its id, and only of those that are new to the workload.
 */
export function describeChange(
  change: Change,
  before: RevisionDocument | null,
  after: readonly RevisionDocument[],
): string[] {
  const old = before ? revisionFields(before) : {};
  const added = after.filter(({ id }) => !change.before?.revisions.includes(id));
  const [only, ...others] = after;
  const revisions =
    only && others.length === 0
      ? difference(old, revisionFields(only))
      : added.flatMap((revision) => difference(old, revisionFields(revision)).map((line) => `${revision.id} ${line}`));
  return [
    ...revisions,
    ...difference(change.before ? workloadFields(change.before) : {}, workloadFields(change.after)),
  ];
}
