/** A planned change in words, a line a field. */
import type { Change } from '../../runtime/workload/desired-state.ts';
import type { RevisionDocument, WorkloadDocument } from '../../runtime/workload/documents.ts';
import { formatBytes, formatDuration } from '../../runtime/workload/units.ts';
import { formatVolume } from '../../runtime/workload/volume.ts';

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
    port: revision.port === undefined ? 'as its image says' : String(revision.port),
    writable: revision.writableBytes === undefined ? 'nothing' : formatBytes(revision.writableBytes),
    volumes: (revision.volumes ?? []).map(formatVolume).join(' '),
    'ready-check': revision.readyCheck ?? '',
    'live-check': revision.liveCheck?.check ?? '',
    'live-every': revision.liveCheck ? formatDuration(revision.liveCheck.everyMs) : '',
    'keyvalue-quota': formatBytes(keyvalueQuotaBytes),
  };
}

/** `memory: 64MiB -> 128MiB`; for what was not there before `memory: 64MiB`. */
function difference(old: Fields, next: Fields): string[] {
  return Object.entries(next)
    .filter(([key, value]) => value !== (old[key] ?? ''))
    .map(([key, value]) => (old[key] === undefined ? `${key}: ${value}` : `${key}: ${old[key]} -> ${value}`));
}

/** Split into what all of them say alike, and what each says beside that. */
function commonFields(all: readonly Fields[]): { common: Fields; own: Fields[] } {
  const [first = {}, ...others] = all;
  const same = (key: string) => others.every((other) => other[key] === first[key]);
  const only = (fields: Fields, wanted: (key: string) => boolean) =>
    Object.fromEntries(Object.entries(fields).filter(([key]) => wanted(key)));
  return { common: only(first, same), own: all.map((fields) => only(fields, (key) => !same(key))) };
}

/**
 * `before` is the revision that had most of the traffic, `after` those that get it. Where they are several, what they do
 * not say alike stands behind the id of each that is new to the workload.
 */
export function describeChange(
  change: Change,
  before: RevisionDocument | null,
  after: readonly RevisionDocument[],
): string[] {
  const old = before ? revisionFields(before) : {};
  const { common, own } = commonFields(after.map(revisionFields));
  const lines = difference(old, common);
  for (const [i, { id }] of after.entries()) {
    if (change.before?.revisions.includes(id)) continue;
    lines.push(...difference(old, own[i] as Fields).map((line) => `${id} ${line}`));
  }
  return [...lines, ...difference(change.before ? workloadFields(change.before) : {}, workloadFields(change.after))];
}
