/** A workload as the file of `skerry apply` says it: what `skerry export` writes. */
import type { ApplyWorkload } from '../../runtime/workload/apply-file.ts';
import { canonicalJson, type RevisionDocument, type WorkloadDocument } from '../../runtime/workload/documents.ts';
import type { RevisionSettings } from '../../runtime/workload/settings.ts';
import { exactBytes, formatDuration } from '../../runtime/workload/units.ts';
import { formatVolume } from '../../runtime/workload/volume.ts';

function revisionSettings(revision: RevisionDocument): RevisionSettings {
  const { isolation, limits, priority, env, reuse, secrets, allow, keyvalueQuotaBytes } = revision;
  const { port, writableBytes, kernel, snapshot, volumes, readyCheck, liveCheck } = revision;
  return {
    isolation,
    memory: exactBytes(limits.memoryBytes),
    cpus: limits.cpuMillicores / 1000,
    timeout: formatDuration(limits.timeoutMs),
    ...(limits.cpuTimeMs === undefined ? {} : { 'cpu-time': formatDuration(limits.cpuTimeMs) }),
    'start-timeout': formatDuration(limits.startTimeoutMs),
    concurrency: limits.concurrency,
    'max-request': exactBytes(limits.maxRequestBytes),
    'max-response': exactBytes(limits.maxResponseBytes),
    priority,
    reuse,
    ...(Object.keys(env).length > 0 ? { env: { ...env } } : {}),
    ...(secrets.length > 0 ? { secrets: [...secrets] } : {}),
    ...(allow.length > 0 ? { allow: [...allow] } : {}),
    ...(port === undefined ? {} : { port }),
    ...(writableBytes === undefined ? {} : { writable: exactBytes(writableBytes) }),
    ...(kernel === undefined ? {} : { kernel }),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(volumes ? { volumes: volumes.map(formatVolume) } : {}),
    ...(readyCheck === undefined ? {} : { 'ready-check': readyCheck }),
    ...(liveCheck && { 'live-check': liveCheck.check, 'live-every': formatDuration(liveCheck.everyMs) }),
    'keyvalue-quota': exactBytes(keyvalueQuotaBytes),
  };
}

/** What all of them say alike. */
function commonSettings([first, ...others]: readonly RevisionSettings[]): RevisionSettings {
  const same = Object.entries(first ?? {}).filter(([key, value]) =>
    others.every(
      (other) => canonicalJson({ value: other[key as keyof RevisionSettings] }) === canonicalJson({ value }),
    ),
  );
  return Object.fromEntries(same);
}

/** What `settings` says beside `common`. */
function without(settings: RevisionSettings, common: RevisionSettings): RevisionSettings {
  return Object.fromEntries(Object.entries(settings).filter(([key]) => !(key in common)));
}

/** `find` gets the workload's revisions by id. */
export function exportWorkload(workload: WorkloadDocument, find: (id: string) => RevisionDocument): ApplyWorkload {
  const { name, routes, queue, scale, traffic } = workload;
  const serving = {
    ...(routes.length > 0 ? { routes: [...routes] } : {}),
    queue,
    min: scale.min,
    max: scale.max,
    idle: formatDuration(scale.idleMs),
  };
  const percents = new Map(traffic.map((share) => [share.revision, share.percent]));
  // In the order of the history, so that a rollback after an apply goes where it goes now.
  const shared = workload.revisions.filter((id) => percents.has(id)).map(find);
  const [only, ...others] = shared;
  if (only && others.length === 0) {
    return { name, image: only.artifact.digest, ...revisionSettings(only), ...serving };
  }
  const common = commonSettings(shared.map(revisionSettings));
  const revisions = shared.map((revision) => ({
    traffic: percents.get(revision.id) as number,
    image: revision.artifact.digest,
    ...without(revisionSettings(revision), common),
  }));
  return { name, ...common, ...serving, revisions };
}
