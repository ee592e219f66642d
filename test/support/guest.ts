/** A machine in QEMU, emulated, with the kernel and the agent as they were built. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { projectRoot } from '../../errors/project-root.ts';
import { AgentClient } from '../../runtime/drivers/microvm/agent/client.ts';
import type { GuestConfiguration, GuestExit, GuestProcess } from '../../runtime/drivers/microvm/agent/messages.ts';

const QEMU = '/usr/bin/qemu-system-x86_64';
const KERNEL = join(projectRoot, 'native', 'kernel', 'vmlinux');
const AGENT = join(projectRoot, 'native', 'agent', 'skerry-agent.cpio');
const MKFS = '/usr/bin/mkfs.erofs';
const COMMAND_LINE = 'console=ttyS0 quiet loglevel=1 panic=-1 reboot=t mitigations=off no_timer_check';
/** For a guest to boot on a busy machine, in milliseconds. */
const BOOT_MS = 60_000;

/** Why there can be no guest here; null when there can. */
export function guestLack(): string | null {
  const missing = [QEMU, KERNEL, AGENT, MKFS, '/bin/busybox', '/sbin/mke2fs'].find((path) => !existsSync(path));
  return missing === undefined ? null : `that needs ${missing}`;
}

/** What a process wrote, as text. */
export class Captured {
  text = '';
  readonly stream = new Writable({
    write: (data: Buffer, _encoding, done) => {
      this.text += data;
      done();
    },
  });
}

export interface Ran {
  readonly exit: GuestExit;
  readonly stdout: string;
  readonly stderr: string;
}

export interface GuestOptions {
  /** Files of its disks: `vda` and on. */
  readonly disks: readonly string[];
  /** Of the host on loopback, forwarded to port 80 of the guest; none without. */
  readonly port?: number;
  readonly memoryMiB?: number;
  readonly more?: readonly string[];
}

/** Root alone, without rights that a workload needs rarely. */
export const ROOT_USER = { uid: 0, gid: 0, groups: [] } as const;

export function process(command: readonly string[], more: Partial<GuestProcess> = {}): GuestProcess {
  const env = ['PATH=/bin'];
  return {
    command,
    env,
    directory: '/',
    user: ROOT_USER,
    capabilities: 0xa80425fbn,
    noNewPrivileges: true,
    ...more,
  };
}

export const shell = (script: string, more: Partial<GuestProcess> = {}) => process(['sh', '-c', script], more);

export const CONFIGURATION: GuestConfiguration = {
  root: { device: 'vda', fileSystem: 'erofs' },
  writableBytes: 16 * 2 ** 20,
  readOnlyRoot: false,
  volumes: [],
  scratch: [{ path: '/tmp', bytes: 4 * 2 ** 20, mode: 0o1777 }],
  network: null,
  files: [],
  pids: 100,
};

export const identity = () => ({
  entropy: randomBytes(64),
  hostname: 'guest-1',
  machineId: randomBytes(16).toString('hex'),
});

export class Guest {
  readonly #folder = mkdtempSync(join(tmpdir(), 'skerry-guest-'));
  readonly #qemu: ChildProcess;
  /** What its kernel printed. */
  console = '';
  /** Resolves when QEMU has ended. */
  readonly ended: Promise<void>;

  constructor({ disks, port, memoryMiB = 64, more = [] }: GuestOptions) {
    const args = ['-M', 'microvm,acpi=off', '-accel', 'tcg', '-cpu', 'max', '-m', `${memoryMiB}`, '-nodefaults'];
    args.push('-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio');
    args.push('-kernel', KERNEL, '-initrd', AGENT, '-append', COMMAND_LINE, '-device', 'virtio-serial-device');
    args.push('-chardev', `socket,id=agent,path=${this.agentPath},server=on,wait=off`);
    args.push('-device', 'virtserialport,nr=1,chardev=agent,name=skerry.agent');
    disks.forEach((disk, at) => {
      const access = at === 0 ? ',read-only=on' : '';
      args.push('-blockdev', `driver=raw,node-name=disk${at},file.driver=file,file.filename=${disk}${access}`);
      args.push('-device', `virtio-blk-device,drive=disk${at}`);
    });
    if (port !== undefined) {
      args.push('-netdev', `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${port}-10.0.2.15:80`);
      args.push('-device', 'virtio-net-device,netdev=net');
    }
    this.#qemu = spawn(QEMU, [...args, ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#qemu.stdout, this.#qemu.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        this.console += text;
      });
    }
    this.ended = once(this.#qemu, 'close').then(() => {});
  }

  get agentPath(): string {
    return join(this.#folder, 'agent');
  }

  get pid(): number {
    return this.#qemu.pid!;
  }

  /** The raw stream to the agent. */
  async stream(): Promise<Socket> {
    for (let tries = 0; ; tries++) {
      const socket = connect(this.agentPath);
      try {
        await once(socket, 'connect');
        return socket;
      } catch (error) {
        if (tries > 500 || this.#qemu.exitCode !== null) throw new Error(`no QEMU: ${this.console}`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }

  async connect(options: { resume?: boolean } = {}): Promise<AgentClient> {
    try {
      return await AgentClient.connect(await this.stream(), { timeoutMs: BOOT_MS, ...options });
    } catch (error) {
      throw new Error(`no agent; the machine said: ${this.console}`, { cause: error });
    }
  }

  async stop(): Promise<void> {
    this.#qemu.kill('SIGKILL');
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) await this.ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Runs a process to its end. */
export async function run(client: AgentClient, what: GuestProcess, input = ''): Promise<Ran> {
  const [stdout, stderr] = [new Captured(), new Captured()];
  const streams = {
    stdin: Readable.from(input === '' ? [] : [Buffer.from(input)]),
    stdout: stdout.stream,
    stderr: stderr.stream,
  };
  const running = await client.exec(what, streams);
  const exit = await running.exited;
  return { exit, stdout: stdout.text, stderr: stderr.text };
}

/** A disk with busybox and these files; the caller removes its folder. */
export function makeRootDisk(folder: string, script: string): string {
  const disk = join(folder, 'root.erofs');
  const tree = join(folder, 'tree');
  const prepare = `mkdir -p bin etc proc sys dev tmp && cp /bin/busybox bin/busybox && for name in $(bin/busybox --list); do
    [ "$name" = busybox ] || ln -s busybox bin/$name; done; ${script}`;
  execFileSync('mkdir', ['-p', tree]);
  execFileSync('/bin/sh', ['-c', prepare], { cwd: tree, stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync(MKFS, ['-zlz4', disk, tree], { stdio: 'ignore' });
  return disk;
}

/** An empty file system. */
export function makeVolume(path: string, mebibytes: number): string {
  execFileSync('/sbin/mke2fs', ['-q', '-t', 'ext4', path, `${mebibytes}m`], { stdio: 'ignore' });
  return path;
}
