/**
 * What the node may ask of hostd: all of it, and nothing else. The node may have been taken over by whom it serves: each
 * call is checked here against its schema before anything is done, names files by role or name and never by path, and
 * gives no rights but over containers that hostd makes itself.
 */
import * as z from 'zod';
import { SkerryError } from '../../errors/skerry-error.ts';
import { isDigest } from '../../images/store/index.ts';
import { MOST_OUTBOUND_ADDRESSES } from '../../runtime/network/outbound-addresses.ts';

/** Calls that are being carried out at once; more wait unread. */
export const MOST_CALLS = 256;
/** Of an image, or of a container. */
const MOST_LAYERS = 128;
const GIB = 2 ** 30;
/** Of an error, in characters. */
const MAX_MESSAGE = 8192;

const text = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[^\0]*$/, { error: 'has a NUL' });
const ContainerId = z.string().regex(/^[a-z0-9][a-z0-9-]{0,99}$/);
const Name = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[A-Za-z0-9._-]+$/);
const DiffId = z.string().refine(isDigest);
const Layers = z.array(DiffId).max(MOST_LAYERS);
const Inside = text(4096).regex(/^\//);
const Id = z.int().min(0).max(65_535);
const Port = z.int().min(1).max(65_535);
const TimeoutMs = z.number().min(0).max(600_000);

/** One that a machine elsewhere can have: not of this network, loopback, multicast or reserved. */
const OutsideAddress = z.ipv4().refine((address) => {
  const first = Number.parseInt(address, 10);
  return first > 0 && first < 224 && first !== 127;
});

/** ContainerSpec without binds: the node has no folder to give. */
const Spec = z.strictObject({
  hostname: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
  command: z
    .array(text(128 * 1024))
    .min(1)
    .max(4096),
  env: z.array(text(128 * 1024)).max(4096),
  directory: Inside,
  user: z.strictObject({ uid: Id, gid: Id, groups: z.array(Id).max(256) }),
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

const OfContainer = z.strictObject({ id: ContainerId });

/** Arguments of each call; `fds` is how many descriptors come with it. */
export const CALLS = {
  /** The settings of the node. */
  settings: { fds: 0, args: z.strictObject({}) },
  /** The node serves: whoever started it may be told. */
  ready: { fds: 0, args: z.strictObject({ gateway: text(300) }) },
  /** The certificate or key that a setting names, by the setting. */
  'file.read': { fds: 0, args: z.strictObject({ setting: z.string().max(64) }) },
  'file.state': { fds: 0, args: z.strictObject({ setting: z.string().max(64) }) },
  /** A socket that listens where a setting says. */
  listen: { fds: 0, args: z.strictObject({ setting: z.string().max(64) }) },
  /** Whether machines can be run with KVM: null, or the system's code of why not. */
  kvm: { fds: 0, args: z.strictObject({}) },
  /** Looks for what runs containers; before any of the calls below. */
  'containers.open': { fds: 0, args: z.strictObject({}) },
  'containers.start': {
    fds: 0,
    args: z.strictObject({
      id: ContainerId,
      labels: z.strictObject({ workload: Name, revision: Name }),
      layers: Layers.min(1),
      writableBytes: z
        .int()
        .min(4096)
        .max(64 * GIB),
      spec: Spec,
      outbound: z.array(OutsideAddress).max(MOST_OUTBOUND_ADDRESSES).nullable(),
    }),
  },
  'containers.recover': { fds: 0, args: z.strictObject({}) },
  'container.follow': { fds: 0, args: OfContainer },
  'container.connect': { fds: 0, args: OfContainer.extend({ port: Port, timeoutMs: TimeoutMs }) },
  'container.outbound': { fds: 0, args: OfContainer },
  'container.signal': { fds: 0, args: OfContainer.extend({ name: z.string().regex(/^[A-Z0-9+-]{1,16}$/) }) },
  'container.pause': { fds: 0, args: OfContainer },
  'container.resume': { fds: 0, args: OfContainer },
  'container.usage': { fds: 0, args: OfContainer },
  'container.remove': { fds: 0, args: OfContainer },
  'layers.has': { fds: 0, args: z.strictObject({ diffId: DiffId }) },
  'layers.unpack': { fds: 1, args: z.strictObject({ diffId: DiffId }) },
  'layers.list': { fds: 0, args: z.strictObject({}) },
  'layers.delete': { fds: 0, args: z.strictObject({ diffId: DiffId }) },
  'layers.accounts': { fds: 0, args: z.strictObject({ layers: Layers }) },
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
  const { message, code, syscall } = error as NodeJS.ErrnoException;
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
