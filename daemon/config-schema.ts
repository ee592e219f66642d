/** What a node can be told, by flag, environment, or file; the reference in docs/ is generated from this. */
import { z } from 'zod';
import { MONITORS, type MonitorKind } from '../runtime/monitor/load-sample.ts';
import { DISCIPLINES } from '../runtime/scheduler/admission/discipline.ts';
import { CPU_POLICY_NAMES } from '../runtime/scheduler/allocation/policies.ts';
import { parseBytes, parseDuration } from '../runtime/workload/units.ts';

/** Of the node's ceiling, in bytes. */
const LEAST_MEMORY = 64 * 2 ** 20;

/** Longest time for requests in flight when the node stops, in milliseconds. */
const MAX_STOP_MS = 24 * 3_600_000;

/** `127.0.0.1:8080`, `[::1]:0`, `localhost:8080`; port 0 takes a free one. */
const Address = z.string().refine((text) => parseAddress(text) !== null, {
  error: 'must be HOST:PORT, such as "127.0.0.1:8080" or "[::1]:8080"',
});

export function parseAddress(text: string): { host: string; port: number } | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text);
  if (!match) return null;
  const port = Number(match[3]);
  return port > 65_535 ? null : { host: (match[1] ?? match[2]) as string, port };
}

export interface UpstreamSetting {
  /** Empty: repositories of all names. */
  readonly prefix: string;
  readonly url: URL;
}

const MAX_UPSTREAMS = 16;
const prefixGrammar = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/;

/** `[NAME=]URL[,…]`; null when it is something else. */
export function parseUpstreams(text: string): UpstreamSetting[] | null {
  const found: UpstreamSetting[] = [];
  for (const entry of text.split(',')) {
    const [, prefix = '', address = ''] = /^(?:([^=:]*)=)?(.*)$/.exec(entry.trim()) ?? [];
    const url = URL.canParse(address) ? new URL(address) : null;
    // No credentials: the command line is seen by others.
    const plain = url && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`;
    if (!plain || (prefix !== '' && !prefixGrammar.test(prefix))) return null;
    if (found.some((other) => other.prefix === prefix) || found.length === MAX_UPSTREAMS) return null;
    found.push({ prefix, url });
  }
  return found;
}

/** Null when it is something else. */
export function parseMonitors(text: string): ReadonlySet<MonitorKind> | null {
  const names = text === 'none' ? [] : text.split(',').map((name) => name.trim());
  return names.every((name) => (MONITORS as readonly string[]).includes(name)) ? new Set(names as MonitorKind[]) : null;
}

/** A whole number, also as text: flags and the environment have no others. */
function countBetween(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.coerce.number({ error }).int({ error }).min(min, { error }).max(max, { error });
}

export const NodeConfig = z.strictObject({
  data: z.string().min(1).describe('Data folder. Default: /var/lib/skerry for root, else ~/.local/share/skerry.'),
  listen: Address.describe('Where the gateway listens.'),
  'tls-cert': z
    .string()
    .min(1)
    .optional()
    .describe(
      'The certificate of the gateway, with its chain (PEM). With it and tls-key the gateway speaks TLS and nothing else. Both are read again when they change, and on SIGHUP.',
    ),
  'tls-key': z.string().min(1).optional().describe("The certificate's private key (PEM, without a passphrase)."),
  registry: z
    .string()
    .refine((text) => text === 'off' || parseAddress(text) !== null, {
      error: 'must be HOST:PORT, such as "127.0.0.1:5050", or off',
    })
    .describe(
      "Where the node's image registry listens, or off. Beyond loopback only with registry-tls-cert and registry-tls-key.",
    ),
  'registry-tls-cert': z
    .string()
    .min(1)
    .optional()
    .describe(
      'The certificate of the registry, with its chain (PEM). With it and registry-tls-key the registry speaks TLS and nothing else. Both are read again when they change, and on SIGHUP.',
    ),
  'registry-tls-key': z
    .string()
    .min(1)
    .optional()
    .describe("The private key of the registry's certificate (PEM, without a passphrase)."),
  'registry-anonymous-pull': z
    .string()
    .regex(/^[a-z0-9._/*-]{1,255}$/, {
      error: 'must be the name of a repository, in which * stands for any characters',
    })
    .optional()
    .describe(
      'Repositories that may be pulled without a token: a name in which * stands for any characters, slashes too. None unless given.',
    ),
  'registry-upstream': z
    .string()
    .refine((text) => parseUpstreams(text) !== null, {
      error: 'must be [NAME=]URL such as "docker.io=https://registry-1.docker.io", with commas between several',
    })
    .optional()
    .describe(
      'Registries whose repositories the registry of the node gives to holders of its tokens: [NAME=]URL, with commas between several. What is not here is fetched once and kept. NAME/REPOSITORY here is REPOSITORY there; without a NAME they are called the same. None unless given.',
    ),
  'registry-upstream-auth': z
    .string()
    .min(1)
    .optional()
    .describe("Credentials for these registries: a file in the form of docker's config.json, with auths."),
  admin: Address.optional().describe(
    'Admin API over TCP, beside the Unix socket. Off unless given; needs a token in SKERRY_ADMIN_TOKEN, and a loopback address.',
  ),
  engine: z
    .enum(['auto', 'wasmtime', 'jco'], { error: 'must be auto, wasmtime or jco' })
    .describe('The Wasm engine; auto takes wasmtime where it is built, else jco.'),
  discipline: z
    .enum(DISCIPLINES, { error: 'must be fcfs, slice or sjf' })
    .describe(
      'The order in which requests that wait get their places: fcfs as they came; slice as they came, and functions that run take turns; sjf those first that are expected to be short, with ageing.',
    ),
  'node-concurrency': countBetween(1, 100_000).describe(
    'Requests that the node serves at once, of all workloads; more wait, and the workloads take turns.',
  ),
  'node-queue': countBetween(0, 1_000_000).describe('Requests of all workloads that may wait; more are answered 503.'),
  'node-memory': z
    .string()
    .refine((text) => (parseBytes(text) ?? 0) >= LEAST_MEMORY, {
      error: 'must be a size of at least 64MiB, such as "2GiB"',
    })
    .optional()
    .describe(
      'Memory that the instances of containers and VMs may have together; what is least urgent is ended when more is needed. Default: nine tenths of what the machine, or the cgroup of the node, has.',
    ),
  allocation: z
    .enum(CPU_POLICY_NAMES, { error: `must be one of ${CPU_POLICY_NAMES.join(', ')}` })
    .describe(
      'How CPU time is divided among containers that together declare more than there is: demand, in proportion to what they declare; priority, by their priority; load, to where requests are.',
    ),
  monitors: z
    .string()
    .refine((text) => parseMonitors(text) !== null, {
      error: `must be none, or of ${MONITORS.join(', ')} some with commas between`,
    })
    .describe(
      'Who watches the load and has instances started ahead of it, with commas between: statistical (what is out of the ordinary), model (a queueing model), learned (forecasts); or none.',
    ),
  'stop-timeout': z
    .string()
    .regex(/^\d{1,6}(ms|s|m)$/, { error: 'must be a time such as "30s"' })
    .refine((text) => (parseDuration(text) ?? Number.POSITIVE_INFINITY) <= MAX_STOP_MS, {
      error: 'must be at most 24h, such as "30s"',
    })
    .describe('How long requests in flight may take when the node stops.'),
  'log-level': z
    .enum(['debug', 'info', 'warn', 'error'], { error: 'must be debug, info, warn or error' })
    .describe("Of the node's own log."),
});
export type NodeConfig = z.infer<typeof NodeConfig>;
export type ConfigKey = keyof NodeConfig;

/** Files that the node reads; whoever starts it may read them, the user it runs as need not. */
export const FILE_SETTINGS = [
  'tls-cert',
  'tls-key',
  'registry-tls-cert',
  'registry-tls-key',
  'registry-upstream-auth',
] as const satisfies readonly ConfigKey[];
/** Addresses that the node listens at. */
export const ADDRESS_SETTINGS = ['listen', 'registry', 'admin'] as const satisfies readonly ConfigKey[];

export interface ConfigFlag {
  readonly key: ConfigKey;
  /** As in `--listen <H:P>`. */
  readonly argument: string;
  readonly env: string;
  /** Undefined: there is none, or it depends on the user (data). */
  readonly fallback: string | undefined;
}

export const CONFIG_FLAGS: readonly ConfigFlag[] = [
  { key: 'data', argument: 'folder', env: 'SKERRY_DATA', fallback: undefined },
  { key: 'listen', argument: 'host:port', env: 'SKERRY_LISTEN', fallback: '127.0.0.1:8080' },
  { key: 'tls-cert', argument: 'file', env: 'SKERRY_TLS_CERT', fallback: undefined },
  { key: 'tls-key', argument: 'file', env: 'SKERRY_TLS_KEY', fallback: undefined },
  { key: 'registry', argument: 'host:port|off', env: 'SKERRY_REGISTRY', fallback: '127.0.0.1:5050' },
  { key: 'registry-tls-cert', argument: 'file', env: 'SKERRY_REGISTRY_TLS_CERT', fallback: undefined },
  { key: 'registry-tls-key', argument: 'file', env: 'SKERRY_REGISTRY_TLS_KEY', fallback: undefined },
  { key: 'registry-anonymous-pull', argument: 'pattern', env: 'SKERRY_REGISTRY_ANONYMOUS_PULL', fallback: undefined },
  { key: 'registry-upstream', argument: '[name=]url,...', env: 'SKERRY_REGISTRY_UPSTREAM', fallback: undefined },
  { key: 'registry-upstream-auth', argument: 'file', env: 'SKERRY_REGISTRY_UPSTREAM_AUTH', fallback: undefined },
  { key: 'admin', argument: 'host:port', env: 'SKERRY_ADMIN', fallback: undefined },
  { key: 'engine', argument: 'auto|wasmtime|jco', env: 'SKERRY_ENGINE', fallback: 'auto' },
  { key: 'discipline', argument: 'fcfs|slice|sjf', env: 'SKERRY_DISCIPLINE', fallback: 'slice' },
  { key: 'node-concurrency', argument: 'n', env: 'SKERRY_NODE_CONCURRENCY', fallback: '1024' },
  { key: 'node-queue', argument: 'n', env: 'SKERRY_NODE_QUEUE', fallback: '8192' },
  { key: 'node-memory', argument: 'size', env: 'SKERRY_NODE_MEMORY', fallback: undefined },
  { key: 'allocation', argument: CPU_POLICY_NAMES.join('|'), env: 'SKERRY_ALLOCATION', fallback: 'priority' },
  { key: 'monitors', argument: 'kind,...|none', env: 'SKERRY_MONITORS', fallback: MONITORS.join(',') },
  { key: 'stop-timeout', argument: 'time', env: 'SKERRY_STOP_TIMEOUT', fallback: '30s' },
  { key: 'log-level', argument: 'level', env: 'SKERRY_LOG_LEVEL', fallback: 'info' },
];
