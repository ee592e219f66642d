/**
 * What a developer may say about a workload. One schema for all the places where it is said: flags of `skerry deploy`,
 * `skerry.toml`, the file of `skerry apply`, the admin API.
 */
import { z } from 'zod';
import { canonicalAllowEntry } from '../egress/allow-list.ts';
import { HEALTH_CHECK_SHAPE, parseHealthCheck } from '../health/health-check.ts';
import { ProjectBuild } from './build-settings.ts';
import { formatBytes, formatDuration, parseBytes, parseDuration } from './units.ts';
import { parseVolume, VOLUME_BYTES } from './volume.ts';

const MiB = 2 ** 20;

/** Bounds and defaults (design.md, Contract). */
export const LIMITS = {
  memory: { min: MiB, max: 64 * 1024 * MiB, wasm: 64 * MiB, other: 128 * MiB },
  cpus: { min: 0.01, max: 256, default: 0.5 },
  timeout: { min: 1, max: 24 * 3_600_000, default: 10_000 },
  cpuTime: { min: 1, max: 24 * 3_600_000 },
  startTimeout: { min: 1, max: 3_600_000, default: 30_000 },
  concurrency: { min: 1, max: 10_000, default: 64 },
  priority: { min: 0, max: 9, default: 5 },
  queue: { min: 0, max: 100_000, default: 128 },
  // Bodies stream, so that the largest costs no more memory than a small one: what this bounds is time and traffic.
  transfer: { min: 0, max: 2 ** 40, default: 1024 * MiB },
  reuse: { min: 1, max: 1_000_000, default: 1 },
  instances: { max: 1000, defaultMin: 0, defaultMax: 10 },
  idle: { min: 100, max: 24 * 3_600_000, default: 60_000 },
  env: { entries: 256, bytes: 64 * 1024 },
  routes: 64,
  secrets: 64,
  allow: 256,
  volumes: 8,
  liveEvery: { min: 100, max: 3_600_000, default: 10_000 },
  writable: { min: 64 * 1024, max: 16 * 1024 * MiB },
  keyvalueQuota: { min: 0, max: 16 * 1024 * MiB, default: 16 * MiB },
  /** Kept of a workload, and between which its traffic can be split. */
  revisions: 10,
} as const;

function bytesBetween(min: number, max: number) {
  const message = `a size between ${formatBytes(min)} and ${formatBytes(max)}, such as "64MiB"`;
  return z.string().refine(
    (text) => {
      const value = parseBytes(text);
      return value !== null && value >= min && value <= max;
    },
    { error: `must be ${message}` },
  );
}

function durationBetween(min: number, max: number) {
  const message = `a time between ${formatDuration(min)} and ${formatDuration(max)}, such as "5s" or "200ms"`;
  return z.string().refine(
    (text) => {
      const value = parseDuration(text);
      return value !== null && value >= min && value <= max;
    },
    { error: `must be ${message}` },
  );
}

export function wholeBetween(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error });
}

/** A DNS label (RFC 1123), and not one that reads as a preview host `REV--NAME`. */
export const WorkloadName = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, {
    error: 'must be a DNS label: 1 to 63 of a-z, 0-9 and "-", not beginning or ending with "-"',
  })
  .refine((name) => !/^[0-9a-f]{12}--/.test(name), { error: 'must not look like a preview host (REV--NAME)' });

const ROUTE =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)?\/(?:[A-Za-z0-9._~%-]+\/)*(?:[A-Za-z0-9._~%-]+|\*)?$/;

/** `[HOST]/PATH`: an exact path, or with a last segment `*` everything below it and the path itself. */
export const Route = z
  .string()
  .max(1024)
  .regex(ROUTE, { error: 'must be [HOST]/PATH, where PATH may end in "/*", such as "/api/*" or "example.com/*"' })
  .refine((route) => !route.slice(route.indexOf('/')).startsWith('/_skerry'), {
    error: "must not be below /_skerry, which is the node's own",
  });

export const EnvName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, {
  error: 'must be a name of letters, digits and "_", not beginning with a digit',
});

export const SecretName = EnvName.max(128, { error: 'must have at most 128 characters' });

/** What a workload may connect to: `HOST[:PORT]`. */
export const AllowEntry = z.string().refine((text) => canonicalAllowEntry(text) !== null, {
  error:
    'must be HOST[:PORT], where HOST is a name, *.NAME, an IPv4 address or an [IPv6 address], such as "api.example.com"',
});

export const VolumeEntry = z.string().refine((text) => parseVolume(text) !== null, {
  error: `must be NAME:/PATH[:SIZE], with a size from ${formatBytes(VOLUME_BYTES.min)} to ${formatBytes(VOLUME_BYTES.max)}, such as "db:/var/lib/db:2GiB"`,
});

/** How an instance is asked whether it is well. */
export const HealthCheckEntry = z
  .string({ error: `must be ${HEALTH_CHECK_SHAPE}` })
  .refine((text) => parseHealthCheck(text) !== null, { error: `must be ${HEALTH_CHECK_SHAPE}` });

export const WorkloadSettings = z.strictObject({
  isolation: z
    .enum(['auto', 'wasm', 'container', 'vm'], { error: 'must be auto, wasm, container or vm' })
    .optional()
    .describe('The sandbox; auto takes the lightest that fits.'),
  memory: bytesBetween(LIMITS.memory.min, LIMITS.memory.max)
    .optional()
    .describe('All memory of one instance. Default 64MiB for wasm, 128MiB for containers and VMs.'),
  cpus: z
    .number({ error: 'must be a number of cores, such as 0.5' })
    .min(LIMITS.cpus.min, { error: `must be at least ${LIMITS.cpus.min}` })
    .max(LIMITS.cpus.max, { error: `must be at most ${LIMITS.cpus.max}` })
    .optional()
    .describe(
      'Share of the CPU in cores. Default 0.5. (Kept with the revision; Wasm functions are not held to it yet.)',
    ),
  timeout: durationBetween(LIMITS.timeout.min, LIMITS.timeout.max)
    .optional()
    .describe('From the arrival of a request to the end of its answer. Default 10s.'),
  'cpu-time': durationBetween(LIMITS.cpuTime.min, LIMITS.cpuTime.max)
    .optional()
    .describe('CPU time that one request of a Wasm function may use. Default: as much as fits before its deadline.'),
  'start-timeout': durationBetween(LIMITS.startTimeout.min, LIMITS.startTimeout.max)
    .optional()
    .describe('From the start of an instance to its readiness. Default 30s.'),
  concurrency: wholeBetween(LIMITS.concurrency.min, LIMITS.concurrency.max)
    .optional()
    .describe('Requests at once: for wasm per revision on the node, else per instance. Default 64.'),
  queue: wholeBetween(LIMITS.queue.min, LIMITS.queue.max)
    .optional()
    .describe('Requests that may wait for a place; more are answered 429. Default 128.'),
  'max-request': bytesBetween(LIMITS.transfer.min, LIMITS.transfer.max)
    .optional()
    .describe('Largest body of a request; a larger one is answered 413. Default 1GiB.'),
  'max-response': bytesBetween(LIMITS.transfer.min, LIMITS.transfer.max)
    .optional()
    .describe(
      'Largest body of an answer; a larger one is answered 500, or broken off once it has begun. Default 1GiB.',
    ),
  priority: wholeBetween(LIMITS.priority.min, LIMITS.priority.max)
    .optional()
    .describe(
      '0 to 9, 9 the most urgent. Default 5. Where the node is full, requests of the more urgent workload are served first; those that wait long become more urgent.',
    ),
  env: z
    .record(EnvName, z.string())
    .refine((env) => Object.keys(env).length <= LIMITS.env.entries, {
      error: `must have at most ${LIMITS.env.entries} entries`,
    })
    .refine((env) => JSON.stringify(env).length <= LIMITS.env.bytes, {
      error: `must be at most ${formatBytes(LIMITS.env.bytes)} in all`,
    })
    .optional()
    .describe('Environment variables of the workload.'),
  secrets: z
    .array(SecretName)
    .max(LIMITS.secrets, { error: `must have at most ${LIMITS.secrets} names` })
    .optional()
    .describe('Secrets of the node that the workload gets, by name (wasi:config).'),
  allow: z
    .array(AllowEntry)
    .max(LIMITS.allow, { error: `must have at most ${LIMITS.allow} entries` })
    .optional()
    .describe(
      'Where it may connect to; without a port 80 and 443. A private or loopback address must itself be listed. NAME.skerry.internal is another workload of the node. Default: nowhere.',
    ),
  port: wholeBetween(1, 65_535)
    .optional()
    .describe('The TCP port that a container or VM listens on. Default: the one that its image exposes, else 8080.'),
  writable: bytesBetween(LIMITS.writable.min, LIMITS.writable.max)
    .optional()
    .describe(
      'What a container may write over its image, in memory and counted as its own; lost when it ends. Default: nothing.',
    ),
  kernel: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/, { error: 'must be a digest: sha256: and 64 hexadecimal digits' })
    .optional()
    .describe(
      "Digest of the kernel that a VM boots, sent to the node before (`skerry deploy --kernel FILE` does both). Default: the node's own.",
    ),
  snapshot: z
    .enum(['none', 'boot', 'app'], { error: 'must be none, boot or app' })
    .optional()
    .describe(
      'What a VM goes on from: boot (a machine that has booted, the same for all), app (one in which this workload was ready), or none: it boots each time. Default: boot.',
    ),
  volumes: z
    .array(VolumeEntry)
    .max(LIMITS.volumes)
    .optional()
    .describe(
      'Folders that outlive containers, as NAME:/PATH[:SIZE]; made when they are not there, with 1GiB when nothing is said.',
    ),
  'ready-check': HealthCheckEntry.optional().describe(
    'When a started container is ready: tcp (its port takes a connection), http:/PATH (a GET is answered 200 to 399), or command:LINE (run inside by /bin/sh -c, it ends with 0); tcp:PORT and http:PORT/PATH ask another port. Default: tcp.',
  ),
  'live-check': HealthCheckEntry.optional().describe(
    'Whether a container that runs is still well, as with ready-check; it is started again when this fails 3 times in a row, each within 2s. Default: it is not asked.',
  ),
  'live-every': durationBetween(LIMITS.liveEvery.min, LIMITS.liveEvery.max)
    .optional()
    .describe('From one live-check to the next. Default 10s.'),
  'keyvalue-quota': bytesBetween(LIMITS.keyvalueQuota.min, LIMITS.keyvalueQuota.max)
    .optional()
    .describe('What it may keep in key-value storage (wasi:keyvalue). Default 16MiB.'),
  routes: z
    .array(Route)
    .max(LIMITS.routes, { error: `must have at most ${LIMITS.routes} routes` })
    .optional()
    .describe('Routes beside the default ones (host NAME.localhost and path /NAME/*); their prefix is not stripped.'),
  reuse: wholeBetween(LIMITS.reuse.min, LIMITS.reuse.max)
    .optional()
    .describe(
      'Requests that one Wasm instance may serve before it is replaced. Default 1: a fresh one for each. (Not for functions built from JavaScript.)',
    ),
  min: wholeBetween(0, LIMITS.instances.max).optional().describe('Instances kept ready. Default 0: none when idle.'),
  max: wholeBetween(0, LIMITS.instances.max)
    .optional()
    .describe(
      'Instances at most; 0 parks the workload. Default 10. (Wasm: one pool serves every request; 0 parks it.)',
    ),
  idle: durationBetween(LIMITS.idle.min, LIMITS.idle.max)
    .optional()
    .describe('Time without a request after which instances above min are stopped. Default 60s.'),
});
export type WorkloadSettings = z.infer<typeof WorkloadSettings>;

/** A process that is run has names as Docker's: letters of both cases, digits, `_`, `.` and `-`. */
export const ProcessName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/, {
  error: 'must be 1 to 128 of letters, digits, "_", "." and "-", beginning with a letter or digit',
});

/** What can be said of a process: of a workload's settings those that are not about requests. */
export const ProcessSettings = WorkloadSettings.pick({
  isolation: true,
  memory: true,
  cpus: true,
  priority: true,
  env: true,
  secrets: true,
  allow: true,
  writable: true,
  kernel: true,
  snapshot: true,
  volumes: true,
});
export type ProcessSettings = z.infer<typeof ProcessSettings>;

/** What a revision is made of beside its artifact: all but what the workload as a whole has. */
export const RevisionSettings = WorkloadSettings.omit({ routes: true, queue: true, min: true, max: true, idle: true });
export type RevisionSettings = z.infer<typeof RevisionSettings>;

/** Settings with others laid over them: `env` name by name, every other setting as a whole. */
export function overlay(base: WorkloadSettings, over: WorkloadSettings): WorkloadSettings {
  const merged = { ...base, ...over };
  if (base.env && over.env) merged.env = { ...base.env, ...over.env };
  return merged;
}

/** `skerry.toml`: the settings, what to build, and the name. */
export const ProjectFile = z.strictObject({
  name: WorkloadName.optional().describe("The workload's name. Default: the folder's name."),
  main: z
    .string()
    .optional()
    .describe(
      'The .ts, .js or .wasm file to deploy, relative to this file. Default: what the files of the folder say (docs/builds.md).',
    ),
  build: ProjectBuild.optional().describe(
    'How the folder is built: `builder` and `base`, as the flags of `skerry deploy` (docs/builds.md).',
  ),
  ...WorkloadSettings.shape,
});
export type ProjectFile = z.infer<typeof ProjectFile>;
