/** From what a developer said to an immutable revision. */

import { canonicalAllowEntry } from '../egress/allow-list.ts';
import { placeWorkload } from '../scheduler/placement.ts';
import { type RevisionDocument, revisionId, type Scale } from './documents.ts';
import { workloadErrors } from './errors.ts';
import type { Artifact, Isolation, Limits, Revision, Volume } from './revision.ts';
import { LIMITS, type WorkloadSettings } from './settings.ts';
import { parseBytes, parseDuration } from './units.ts';
import { parseVolume } from './volume.ts';

/** A size or time that the schema has accepted already. */
function parsed(parse: (text: string) => number | null, text: string | undefined, fallback: number): number {
  return text === undefined ? fallback : (parse(text) as number);
}

/** What holds for an instance with these settings, set or not. */
export function limitsOf(settings: WorkloadSettings, isolation: Isolation): Limits {
  const memory = isolation === 'wasm' ? LIMITS.memory.wasm : LIMITS.memory.other;
  return {
    memoryBytes: parsed(parseBytes, settings.memory, memory),
    cpuMillicores: Math.round((settings.cpus ?? LIMITS.cpus.default) * 1000),
    timeoutMs: parsed(parseDuration, settings.timeout, LIMITS.timeout.default),
    ...(settings['cpu-time'] === undefined ? {} : { cpuTimeMs: parsed(parseDuration, settings['cpu-time'], 0) }),
    startTimeoutMs: parsed(parseDuration, settings['start-timeout'], LIMITS.startTimeout.default),
    concurrency: settings.concurrency ?? LIMITS.concurrency.default,
    maxRequestBytes: parsed(parseBytes, settings['max-request'], LIMITS.transfer.default),
    maxResponseBytes: parsed(parseBytes, settings['max-response'], LIMITS.transfer.default),
  };
}

/** Each once and in order, so that the order in which they are said makes no other revision. */
function distinct(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort();
}

/** Throws INVALID_SETTING for a name that is a variable of `env` too: a function sees both under one name. */
function secretsOf({ secrets = [], env = {} }: WorkloadSettings): string[] {
  for (const name of secrets) {
    if (Object.hasOwn(env, name)) throw workloadErrors.INVALID_SETTING('secrets', `${name} is in env too`);
  }
  return distinct(secrets);
}

/** Left out where there is none. Throws INVALID_SETTING. */
function volumesOf({ volumes: texts = [] }: WorkloadSettings, isolation: Isolation): Pick<Revision, 'volumes'> {
  if (texts.length === 0) return {};
  const wrong = (why: string) => workloadErrors.INVALID_SETTING('volumes', why);
  if (isolation !== 'container') throw wrong(`they are for containers, not for ${isolation}`);
  const volumes = texts.map((text) => parseVolume(text) as Volume);
  for (const key of ['name', 'path'] as const) {
    const twice = volumes.find((each, i) => volumes.findIndex((other) => other[key] === each[key]) !== i);
    if (twice) throw wrong(`${twice[key]} stands there twice`);
  }
  return { volumes };
}

/** Left out where it is not said. Throws INVALID_SETTING. */
function kernelOf({ kernel }: WorkloadSettings, isolation: Isolation): Pick<Revision, 'kernel'> {
  if (kernel === undefined) return {};
  if (isolation !== 'vm') throw workloadErrors.INVALID_SETTING('kernel', `it is for VMs, not for ${isolation}`);
  return { kernel };
}

/** Left out where it is not said. Throws INVALID_SETTING. */
function snapshotOf(
  { snapshot }: WorkloadSettings,
  isolation: Isolation,
  isProcess: boolean,
): Pick<Revision, 'snapshot'> {
  if (snapshot === undefined) return {};
  if (isolation !== 'vm') throw workloadErrors.INVALID_SETTING('snapshot', `it is for VMs, not for ${isolation}`);
  if (snapshot === 'app' && isProcess) {
    throw workloadErrors.INVALID_SETTING('snapshot', 'a process that is run is started once: none is ready before it');
  }
  return { snapshot };
}

/** Left out where it is not said. Throws INVALID_SETTING. */
function healthOf(settings: WorkloadSettings, isolation: Isolation): Pick<Revision, 'readyCheck' | 'liveCheck'> {
  const { 'ready-check': ready, 'live-check': live, 'live-every': every } = settings;
  if (isolation === 'wasm') {
    const said = (['ready-check', 'live-check', 'live-every'] as const).find((key) => settings[key] !== undefined);
    if (said)
      throw workloadErrors.INVALID_SETTING(said, 'it is for containers and VMs: Wasm is fresh for each request');
  }
  if (every !== undefined && live === undefined) {
    throw workloadErrors.INVALID_SETTING('live-every', 'there is no live-check to be made that often');
  }
  const everyMs = parsed(parseDuration, every, LIMITS.liveEvery.default);
  return {
    ...(ready === undefined ? {} : { readyCheck: ready }),
    ...(live === undefined ? {} : { liveCheck: { check: live, everyMs } }),
  };
}

/** `process`: it is one, in place of a workload. Throws ISOLATION_UNFIT when no sandbox of this node fits, INVALID_SETTING. */
export function revisionOf(
  workload: string,
  artifact: Artifact,
  label: string,
  settings: WorkloadSettings,
  offered: ReadonlySet<Isolation>,
  process?: Revision['process'],
): RevisionDocument {
  const { isolation, decision } = placeWorkload(settings.isolation ?? 'auto', artifact.mediaType, offered);
  const content: Omit<Revision, 'id'> = {
    workload,
    isolation,
    artifact: { digest: artifact.digest, mediaType: artifact.mediaType },
    limits: limitsOf(settings, isolation),
    priority: settings.priority ?? LIMITS.priority.default,
    env: settings.env ?? {},
    secrets: secretsOf(settings),
    allow: distinct((settings.allow ?? []).map((entry) => canonicalAllowEntry(entry) as string)),
    keyvalueQuotaBytes: parsed(parseBytes, settings['keyvalue-quota'], LIMITS.keyvalueQuota.default),
    // Left out where it is not said, so that revisions from before there were such settings keep their names.
    ...(settings.port === undefined ? {} : { port: settings.port }),
    ...(settings.writable === undefined ? {} : { writableBytes: parsed(parseBytes, settings.writable, 0) }),
    ...kernelOf(settings, isolation),
    ...snapshotOf(settings, isolation, process !== undefined),
    ...volumesOf(settings, isolation),
    ...healthOf(settings, isolation),
    ...(process && { process }),
    reuse: settings.reuse ?? LIMITS.reuse.default,
  };
  const decidedFrom = {
    asked: settings.isolation ?? 'auto',
    artifact: artifact.mediaType,
    offered: [...offered].join(' '),
    memoryBytes: content.limits.memoryBytes,
    cpus: content.limits.cpuMillicores / 1000,
  };
  const createdAt = new Date().toISOString();
  return { id: revisionId(content), ...content, createdAt, label, decision, decidedFrom };
}

/** The scale that the settings ask for; what they leave out stays as it was. */
export function scaleOf(settings: Pick<WorkloadSettings, 'min' | 'max' | 'idle'>, before: Scale | null): Scale {
  const min = settings.min ?? before?.min ?? LIMITS.instances.defaultMin;
  return {
    min,
    max: settings.max ?? before?.max ?? Math.max(min, LIMITS.instances.defaultMax),
    idleMs: parsed(parseDuration, settings.idle, before?.idleMs ?? LIMITS.idle.default),
  };
}
