/** The configuration of an image: https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md and Docker's additions. */
import * as z from 'zod';
import { check, parseJson } from './documents.ts';
import { ociErrors } from './errors.ts';
import type { Platform } from './platform.ts';

export interface ExposedPort {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
}

export interface Healthcheck {
  /** `['CMD', …]`, `['CMD-SHELL', line]`; never `NONE`. */
  readonly test: readonly string[];
  /** Of all four: null where the image leaves it to the runtime. */
  readonly intervalMs: number | null;
  readonly timeoutMs: number | null;
  readonly startPeriodMs: number | null;
  readonly retries: number | null;
}

export interface ImageConfig {
  readonly platform: Platform;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** The entrypoint with the command behind it. Empty: the image does not say what to run. */
  readonly argv: readonly string[];
  /** `NAME=VALUE` each. */
  readonly env: readonly string[];
  /** `USER[:GROUP]`, names or numbers; empty: root. */
  readonly user: string;
  /** Absolute. */
  readonly workingDir: string;
  readonly exposedPorts: readonly ExposedPort[];
  /** Absolute paths. */
  readonly volumes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** `SIGTERM`, `15`; null when the image does not say. */
  readonly stopSignal: string | null;
  readonly healthcheck: Healthcheck | null;
  /** Of the layers, the lowest first: digests of their uncompressed archives. */
  readonly diffIds: readonly string[];
}

/** Nothing with a NUL can be an argument, a name or a path. */
const text = z.string().refine((value) => !value.includes('\0'), 'it has a NUL in it');
const texts = z.array(text).nullish();
const keys = z.record(text, z.unknown()).nullish();
const nanoseconds = z.number().min(0).nullish();

const schema = z.object({
  architecture: z.string().max(100),
  os: z.string().max(100),
  variant: z.string().max(100).nullish(),
  rootfs: z.object({
    type: z.literal('layers'),
    diff_ids: z.array(z.string().regex(/^sha256:[a-f0-9]{64}$/, 'only digests of sha256 are supported')).nullable(),
  }),
  config: z
    .object({
      Entrypoint: texts,
      Cmd: texts,
      Env: z.array(text.regex(/^[^=]+=/, 'it is not NAME=VALUE')).nullish(),
      User: text.nullish(),
      WorkingDir: text.nullish(),
      ExposedPorts: keys,
      Volumes: keys,
      Labels: z.record(text, text).nullish(),
      StopSignal: text.regex(/^(|SIG[A-Z0-9+-]{1,20}|[A-Z0-9+-]{1,20})$/, 'it is not a signal').nullish(),
      Healthcheck: z
        .object({
          Test: texts,
          Interval: nanoseconds,
          Timeout: nanoseconds,
          StartPeriod: nanoseconds,
          Retries: z.int().min(0).nullish(),
        })
        .nullish(),
    })
    .nullish(),
});

const WHAT = 'its configuration';

/** Throws IMAGE_MALFORMED. @param image what the user calls it */
export function parseConfig(bytes: Uint8Array, image: string): ImageConfig {
  const json = check(schema, parseJson(bytes, image, WHAT), image, WHAT);
  const config = json.config ?? {};
  const entrypoint = config.Entrypoint ?? [];
  const command = config.Cmd ?? [];
  const absolute = (path: string) => (path.startsWith('/') ? path : `/${path}`);
  return {
    platform: { os: json.os, architecture: json.architecture, variant: json.variant || null },
    entrypoint,
    command,
    argv: [...entrypoint, ...command],
    env: config.Env ?? [],
    user: config.User ?? '',
    workingDir: absolute(config.WorkingDir ?? ''),
    exposedPorts: Object.keys(config.ExposedPorts ?? {}).map((key) => parsePort(key, image)),
    volumes: Object.keys(config.Volumes ?? {}).map(absolute),
    labels: config.Labels ?? {},
    stopSignal: config.StopSignal || null,
    healthcheck: parseHealthcheck(config.Healthcheck),
    diffIds: json.rootfs.diff_ids ?? [],
  };
}

function parsePort(key: string, image: string): ExposedPort {
  const [, port, protocol = 'tcp'] = /^([0-9]{1,5})(?:\/(tcp|udp|sctp))?$/.exec(key) ?? [];
  if (port === undefined || Number(port) === 0 || Number(port) > 65_535)
    throw ociErrors.IMAGE_MALFORMED(image, `"${key.slice(0, 50)}" in ExposedPorts of ${WHAT} is not a port`);
  return { port: Number(port), protocol: protocol as ExposedPort['protocol'] };
}

function parseHealthcheck(raw: NonNullable<z.infer<typeof schema>['config']>['Healthcheck']): Healthcheck | null {
  const test = raw?.Test ?? [];
  if (test.length === 0 || test[0] === 'NONE') return null;
  // Zero stands for "not said".
  const ms = (value: number | null | undefined) => (value ? value / 1e6 : null);
  return {
    test,
    intervalMs: ms(raw?.Interval),
    timeoutMs: ms(raw?.Timeout),
    startPeriodMs: ms(raw?.StartPeriod),
    retries: raw?.Retries || null,
  };
}
