/** What the node asks of the agent in a guest, and what it is told. `native/agent/src/message.rs` is the other side of it. */
import { FieldReader, FieldWriter, Malformed } from './fields.ts';

export const VERSION = 1;
export const NONCE_BYTES = 16;

/** Kinds of frames to the agent. */
export const asked = {
  hello: 0x01,
  restored: 0x02,
  configure: 0x03,
  start: 0x04,
  exec: 0x05,
  stdin: 0x06,
  stdinEnd: 0x07,
  credit: 0x08,
  signal: 0x09,
  stats: 0x0a,
  suspend: 0x0b,
  attach: 0x0c,
  powerOff: 0x0d,
} as const;

/** Kinds of frames from the agent. */
export const told = {
  hello: 0x81,
  done: 0x82,
  failed: 0x83,
  started: 0x84,
  stdout: 0x85,
  stderr: 0x86,
  exited: 0x87,
  stdinCredit: 0x88,
  stats: 0x89,
  lost: 0x8a,
} as const;

/** What tells a machine from others that were made of the same snapshot. */
export interface GuestIdentity {
  /** 32 to 512 random bytes, that no other machine has been given. */
  readonly entropy: Uint8Array;
  /** 1 to 64 bytes. */
  readonly hostname: string;
  /** 32 hexadecimal digits. */
  readonly machineId: string;
}

const FILE_SYSTEMS = { erofs: 1, squashfs: 2, ext4: 3 } as const;

export interface GuestDisk {
  /** Its name in the guest: `vda` is the first. */
  readonly device: string;
  readonly fileSystem: keyof typeof FILE_SYSTEMS;
  readonly readOnly: boolean;
}

export interface GuestConfiguration {
  /** Mounted read-only. */
  readonly root: Omit<GuestDisk, 'readOnly'>;
  /** What may be written above the root, in memory, in bytes; at least 1 MiB. */
  readonly writableBytes: number;
  /** Once it is set up nothing is written above the root. */
  readonly readOnlyRoot: boolean;
  readonly volumes: readonly { readonly disk: GuestDisk; readonly path: string }[];
  /** Folders in memory, each of at most so many bytes. */
  readonly scratch: readonly { readonly path: string; readonly bytes: number; readonly mode: number }[];
  /** Of `eth0`; null: loopback alone. */
  readonly network: {
    readonly mtu: number;
    /** `ADDRESS/PREFIX`, IPv4 or IPv6. */
    readonly addresses: readonly string[];
    readonly gateways: readonly string[];
  } | null;
  /** Written into the root, such as /etc/hosts and /etc/resolv.conf. */
  readonly files: readonly { readonly path: string; readonly mode: number; readonly contents: string }[];
  /** Processes of the workload at once. */
  readonly pids: number;
}

export interface GuestProcess {
  /** The program and its arguments; never empty. */
  readonly command: readonly string[];
  /** `NAME=VALUE` each. */
  readonly env: readonly string[];
  /** Absolute, inside. */
  readonly directory: string;
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  /** One bit for each that its root may have, by number (linux/capability.h). */
  readonly capabilities: bigint;
  readonly noNewPrivileges: boolean;
}

export const STATES = ['waiting', 'configured', 'running', 'ended'] as const;
/** What the agent does: nothing yet, its root is there, the workload's process runs, or has ended. */
export type GuestState = (typeof STATES)[number];

export interface Hello {
  readonly version: number;
  readonly agent: string;
  readonly state: GuestState;
}

/** How a process ended; `signal` is a number. */
export interface GuestExit {
  readonly code: number | null;
  readonly signal: number | null;
  /** It was ended because the machine had no memory left. */
  readonly outOfMemory: boolean;
}

export interface GuestStats {
  readonly memoryBytes: number;
  readonly availableBytes: number;
  readonly cpuMs: number;
  /** Over the last minute. */
  readonly load: number;
  readonly processes: number;
  /** In use of what may be written above the root. */
  readonly writtenBytes: number;
  readonly outOfMemoryKills: number;
}

export function encodeHello(nonce: Uint8Array): Buffer {
  return new FieldWriter().u16(VERSION).raw(nonce).finish();
}

/** @param timeNs nanoseconds since 1970 */
export function encodeRestored(identity: GuestIdentity, timeNs: bigint): Buffer {
  const to = new FieldWriter().bytes(identity.entropy).u64(timeNs);
  return to.bytes(identity.hostname).bytes(identity.machineId).finish();
}

function writeDisk(to: FieldWriter, disk: GuestDisk): void {
  to.bytes(disk.device).u8(FILE_SYSTEMS[disk.fileSystem]).bool(disk.readOnly);
}

export function encodeConfiguration(configuration: GuestConfiguration): Buffer {
  const to = new FieldWriter();
  writeDisk(to, { ...configuration.root, readOnly: true });
  to.u64(BigInt(configuration.writableBytes)).bool(configuration.readOnlyRoot);
  to.list(configuration.volumes, ({ disk, path }) => {
    writeDisk(to, disk);
    to.bytes(path);
  });
  to.list(configuration.scratch, ({ path, bytes, mode }) => to.bytes(path).u64(BigInt(bytes)).u32(mode));
  const { network } = configuration;
  to.bool(network !== null);
  if (network) {
    to.u32(network.mtu);
    to.list(network.addresses, (address) => to.bytes(address));
    to.list(network.gateways, (gateway) => to.bytes(gateway));
  }
  to.list(configuration.files, ({ path, mode, contents }) => to.bytes(path).u32(mode).bytes(contents));
  return to.u32(configuration.pids).finish();
}

/** @param window what it may write to each of its outputs before more is asked for, in bytes */
export function encodeProcess(process: GuestProcess, window: number): Buffer {
  const to = new FieldWriter();
  to.list(process.command, (part) => to.bytes(part)).list(process.env, (entry) => to.bytes(entry));
  to.bytes(process.directory).u32(process.user.uid).u32(process.user.gid);
  to.list(process.user.groups, (group) => to.u32(group));
  return to.u64(process.capabilities).bool(process.noNewPrivileges).u32(window).finish();
}

export function encodeCredit(stream: 1 | 2, bytes: number): Buffer {
  return new FieldWriter().u8(stream).u32(bytes).finish();
}

/** @param group to the processes that it started as well, those that did not leave its group */
export function encodeSignal(number: number, group: boolean): Buffer {
  return new FieldWriter().u8(number).bool(group).finish();
}

/** What a guest says of itself, for people: printable, on one line. */
function words(bytes: Buffer, most: number): string {
  return bytes
    .toString('utf8')
    .replace(/[^\x20-\x7e\u00a0-\u{10ffff}]/gu, ' ')
    .slice(0, most);
}

function read<T>(payload: Buffer, fields: (from: FieldReader) => T): T {
  const from = new FieldReader(payload);
  const value = fields(from);
  from.end();
  return value;
}

/** Null: it answers somebody else. */
export function decodeHello(payload: Buffer, nonce: Uint8Array): Hello | null {
  return read(payload, (from) => {
    const isAnswer = from.take(NONCE_BYTES).equals(nonce);
    const version = from.u16();
    const agent = words(from.bytes(), 40);
    const state = STATES[from.u8()];
    if (state === undefined) throw new Malformed('a state that is none');
    return isAnswer ? { version, agent, state } : null;
  });
}

export function decodeFailed(payload: Buffer): { code: string; why: string } {
  return read(payload, (from) => {
    const code = from.bytes().toString('latin1');
    if (!/^[A-Z_]{1,40}$/.test(code)) throw new Malformed('a code that is none');
    return { code, why: words(from.bytes(), 500) };
  });
}

export function decodeStarted(payload: Buffer): { pid: number; stdinWindow: number } {
  return read(payload, (from) => ({ pid: from.u32(), stdinWindow: Math.min(from.u32(), 64 * 1024) }));
}

export function decodeExited(payload: Buffer): GuestExit {
  return read(payload, (from) => {
    const [kind, value, oom] = [from.u8(), from.u8(), from.u8()];
    if (kind > 1 || oom > 1 || (kind === 1 && (value < 1 || value > 64))) throw new Malformed('an end that is none');
    return { code: kind === 0 ? value : null, signal: kind === 1 ? value : null, outOfMemory: oom === 1 };
  });
}

export function decodeStdinCredit(payload: Buffer): number {
  return read(payload, (from) => from.u32());
}

export function decodeLost(payload: Buffer): { stream: 1 | 2; bytes: number } {
  return read(payload, (from) => {
    const stream = from.u8();
    if (stream !== 1 && stream !== 2) throw new Malformed('a stream that is none');
    return { stream, bytes: from.u64() };
  });
}

export function decodeStats(payload: Buffer): GuestStats {
  return read(payload, (from) => ({
    memoryBytes: from.u64(),
    availableBytes: from.u64(),
    cpuMs: from.u64(),
    load: from.u32() / 1000,
    processes: from.u32(),
    writtenBytes: from.u64(),
    outOfMemoryKills: from.u64(),
  }));
}
