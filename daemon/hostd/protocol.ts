/**
 * What the node may ask of hostd: all of it, and nothing else. The node may have been taken over by whom it serves: each
 * call is checked here against its schema before anything is done, names files by role or name and never by path, and
 * gives no rights but over containers and machines that hostd makes itself.
 */
import * as z from 'zod';
import { SkerryError } from '../../errors/skerry-error.ts';
import { isDigest } from '../../images/store/index.ts';
import { MOST_OUTBOUND_ADDRESSES } from '../../runtime/network/outbound-addresses.ts';
import { MACHINE_CALLS } from './machine-protocol.ts';
import { MOST_LAYERS, SandboxId, WorkloadLabels } from './protocol-parts.ts';

/** Calls that are being carried out at once; more wait unread. */
export const MOST_CALLS = 256;
/** At once: as many descriptors as go with one message. */
const MOST_SOCKETS = 16;
/** Of a container. */
const MOST_VOLUMES = 8;
const GIB = 2 ** 30;
/** Of an error, in characters. */
const MAX_MESSAGE = 8192;

const text = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[^\0]*$/, { error: 'has a NUL' });
const DiffId = z.string().refine(isDigest);
const Layers = z.array(DiffId).max(MOST_LAYERS);
const VolumeName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/);
const VolumeBytes = z
  .int()
  .min(2 ** 20)
  .max(16 * 1024 * GIB);
const Inside = text(4096).regex(/^\//);
const Id = z.int().min(0).max(65_535);

/** One that a machine elsewhere can have: not of this network, loopback, multicast or reserved. */
const OutsideAddress = z.ipv4().refine((address) => {
  const first = Number.parseInt(address, 10);
  return first > 0 && first < 224 && first !== 127;
});

/** ContainerProcess. */
const Process = z.strictObject({
  command: z
    .array(text(128 * 1024))
    .min(1)
    .max(4096),
  env: z.array(text(128 * 1024)).max(4096),
  directory: Inside,
  user: z.strictObject({ uid: Id, gid: Id, groups: z.array(Id).max(256) }),
});

/** ContainerSpec. */
const Spec = Process.extend({
  hostname: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
  memoryBytes: z
    .int()
    .min(2 ** 20)
    .max(1024 * GIB),
  cpuMillicores: z.int().min(1).max(1_000_000),
  cpuWeight: z.int().min(1).max(10_000),
  pids: z.int().min(1).max(32_768),
  scratch: z
    .array(
      z.strictObject({
        path: Inside,
        bytes: z
          .int()
          .min(1)
          .max(64 * GIB),
      }),
    )
    .max(64),
  writableRoot: z.boolean(),
});

const StartRequest = z.strictObject({
  id: SandboxId,
  labels: WorkloadLabels,
  layers: Layers.min(1),
  writableBytes: z
    .int()
    .min(4096)
    .max(64 * GIB),
  spec: Spec,
  outbound: z.array(OutsideAddress).max(MOST_OUTBOUND_ADDRESSES).nullable(),
  volumes: z.array(z.strictObject({ name: VolumeName, path: Inside, bytes: VolumeBytes.nullable() })).max(MOST_VOLUMES),
});

/** An image as a Dockerfile may call it. */
const ImageName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}$/);
const VariableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/);
const BuildSettings = z.strictObject({
  dockerfile: text(1024 * 1024),
  args: z.record(VariableName, text(64 * 1024)),
  target: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/)
    .nullable(),
  fresh: z.boolean(),
  epoch: z
    .int()
    .min(0)
    .max(2 ** 40)
    .nullable(),
  secrets: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/), text(64 * 1024)),
  network: z.boolean(),
});

const OfContainer = z.strictObject({ id: SandboxId });

/** Arguments of each call; `fds` is how many descriptors come with it. */
export const CALLS = {
  /** The settings of the node. */
  settings: { fds: 0, args: z.strictObject({}) },
  /** The node serves: whoever started it may be told. */
  ready: { fds: 0, args: z.strictObject({ gateway: text(300), registry: text(300).nullable() }) },
  /** The certificate or key that a setting names, by the setting. */
  'file.read': { fds: 0, args: z.strictObject({ setting: z.string().max(64) }) },
  'file.state': { fds: 0, args: z.strictObject({ setting: z.string().max(64) }) },
  /** A socket that listens where a setting says. */
  listen: { fds: 0, args: z.strictObject({ setting: z.string().max(64) }) },
  /** Whether machines can be run with KVM: null, or the system's code of why not. */
  kvm: { fds: 0, args: z.strictObject({}) },
  /** Looks for what runs containers; before any of the calls below. */
  'containers.open': { fds: 0, args: z.strictObject({}) },
  'containers.start': { fds: 0, args: StartRequest },
  /** Descriptors: stdin, stdout, stderr of its first process. */
  'containers.attach': { fds: 3, args: StartRequest },
  /** What the machine does not have of what some of them need. */
  'containers.lacks': { fds: 0, args: z.strictObject({}) },
  'containers.recover': { fds: 0, args: z.strictObject({}) },
  'container.follow': { fds: 0, args: OfContainer },
  /** TCP sockets in its network, for the node to connect. */
  'container.sockets': { fds: 0, args: OfContainer.extend({ count: z.int().min(1).max(MOST_SOCKETS) }) },
  /** A socket that listens in its network, and one for questions. */
  'container.outbound': { fds: 0, args: OfContainer },
  'container.signal': { fds: 0, args: OfContainer.extend({ name: z.string().regex(/^[A-Z0-9+-]{1,16}$/) }) },
  /** The node chooses the number `execution`; its end is told by an event. Descriptors: stdin, stdout, stderr. */
  'container.exec': { fds: 3, args: OfContainer.extend({ execution: z.int().min(0), process: Process }) },
  'container.kill': { fds: 0, args: OfContainer.extend({ execution: z.int().min(0) }) },
  'container.pause': { fds: 0, args: OfContainer },
  'container.resume': { fds: 0, args: OfContainer },
  /** The share of the CPU that it may have from now on. */
  'container.resize': { fds: 0, args: OfContainer.extend({ cpuMillicores: z.int().min(10).max(1_000_000) }) },
  'container.usage': { fds: 0, args: OfContainer },
  'container.remove': { fds: 0, args: OfContainer },
  'volumes.list': { fds: 0, args: z.strictObject({}) },
  'volumes.delete': { fds: 0, args: z.strictObject({ name: VolumeName }) },
  /** Looks for what builds images; before any of the calls below. */
  'builder.open': { fds: 0, args: z.strictObject({}) },
  'builder.name': { fds: 0, args: z.strictObject({ image: ImageName, key: DiffId }) },
  'builder.load': { fds: 1, args: z.strictObject({ key: DiffId }) },
  /** The node chooses the number `build`. Descriptors: the context, stdout, stderr. */
  'builder.build': { fds: 3, args: z.strictObject({ build: z.int().min(0), options: BuildSettings }) },
  'builder.cancel': { fds: 0, args: z.strictObject({ build: z.int().min(0) }) },
  'builder.prune': { fds: 0, args: z.strictObject({ maxBytes: z.int().min(0), maxAgeMs: z.int().min(0) }) },
  'layers.has': { fds: 0, args: z.strictObject({ diffId: DiffId }) },
  'layers.unpack': { fds: 1, args: z.strictObject({ diffId: DiffId }) },
  'layers.list': { fds: 0, args: z.strictObject({}) },
  'layers.delete': { fds: 0, args: z.strictObject({ diffId: DiffId }) },
  'layers.accounts': { fds: 0, args: z.strictObject({ layers: Layers }) },
  ...MACHINE_CALLS,
} as const;

export type CallName = keyof typeof CALLS;
export type Args<K extends CallName> = z.infer<(typeof CALLS)[K]['args']>;

/** What the node sends. */
export const Request = z.strictObject({
  call: z.custom<CallName>((name) => typeof name === 'string' && Object.hasOwn(CALLS, name)),
  /** Chosen by the node; names the answer. */
  serial: z.int().min(0),
  args: z.unknown(),
});

const ExitDocument = z.strictObject({
  code: z.int().nullable(),
  signal: z.string().nullable(),
  reason: z.enum(['stopped', 'exited', 'out-of-memory', 'failed']),
  message: z.string(),
});

/** What hostd sends: answers, each with the serial of its call, and events. */
export const Answer = z.union([
  z.object({ serial: z.int(), value: z.unknown() }),
  z.object({ serial: z.int(), error: z.lazy(() => ErrorDocument) }),
  z.object({ event: z.literal('output'), id: z.string(), stream: z.enum(['stdout', 'stderr']) }),
  z.object({ event: z.literal('executed'), execution: z.int(), status: z.int() }),
  z.object({ event: z.literal('exited'), id: z.string(), exit: ExitDocument }),
]);
export type Answer = z.infer<typeof Answer>;

/** A SkerryError, or a system's. */
const ErrorDocument = z.object({
  message: z.string(),
  code: z.string().optional(),
  syscall: z.string().optional(),
  skerry: z
    .object({
      status: z.int(),
      what: z.string(),
      fix: z.string(),
      exit: z.int(),
      retryAfter: z.number().optional(),
    })
    .optional(),
});
export type ErrorDocument = z.infer<typeof ErrorDocument>;

export function describeError(error: unknown): ErrorDocument {
  if (error instanceof SkerryError) {
    const { code, message, status, what, fix, exit, retryAfter } = error;
    return {
      code,
      message: message.slice(0, MAX_MESSAGE),
      skerry: { status, what, fix, exit, ...(retryAfter !== undefined && { retryAfter }) },
    };
  }
  const { message, code: given, syscall } = error as NodeJS.ErrnoException;
  // Of what is aborted it is a number.
  const code = typeof given === 'string' ? given : undefined;
  return {
    message: String(message).slice(0, MAX_MESSAGE),
    ...(code !== undefined && { code }),
    ...(syscall !== undefined && { syscall }),
  };
}

/** The error that `describeError` was given, as far as its readers look at it. */
export function errorFrom({ message, code, syscall, skerry }: ErrorDocument): Error {
  if (skerry && code !== undefined) return new SkerryError({ code, ...skerry });
  return Object.assign(new Error(message), { code, syscall });
}

export type Request = z.infer<typeof Request>;
