/** Starts, watches and ends microVMs: by the launcher and QEMU; all that needs root. It speaks to no guest and no monitor. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { SkerryError } from '../../errors/skerry-error.ts';
import { type Cgroup, type Cgroups, closeFd, dupFd, streamPair } from '../../native/host/index.ts';
import type { Exit } from '../../runtime/driver.ts';
import type {
  Acceleration,
  HostedMachine,
  MachineChannels,
  MachineHost,
  MachineLabels,
  MachineUsage,
  StartMachine,
} from '../../runtime/drivers/microvm/host.ts';
import { MACHINE_LINK } from '../../runtime/drivers/microvm/network.ts';
import { QEMU_FDS, qemuCommandLine } from '../../runtime/drivers/microvm/qemu/command-line.ts';
import type { Sockets } from '../../runtime/network/outbound.ts';
import { hostErrors } from './errors.ts';
import type { StoredLayers } from './host-layers.ts';
import { MOST_MACHINES, monitorUser } from './ids.ts';
import type { StoredMachineDisks } from './machine-disks.ts';
import type { StoredMachineFiles } from './machine-files.ts';
import { type MonitorProgram, PRIVATE_MEMORY, PRIVATE_MEMORY_INSIDE } from './machine-program.ts';
import type { NewTemplate, StoredTemplates } from './machine-templates.ts';
import { NetworkNamespace } from './network-namespaces.ts';

/** What a monitor uses beside the guest's memory, in bytes: its own, translated code, queues of devices. */
const OVERHEAD = { tcg: 160 * 2 ** 20, kvm: 64 * 2 ** 20 } as const;
/** Threads of a monitor beside one for each CPU. */
const THREADS = 32;
/** Of what a monitor says when it ends, in characters. */
const LAST_WORDS = 500;

/** Where things are in a monitor's root. */
const INSIDE = { kernel: '/kernel', initramfs: '/initramfs', memory: '/memory', state: '/state' } as const;
const KVM = '/dev/kvm';

export interface MachinesOptions {
  /** In memory (`/run`): nothing in it is worth keeping over a restart of the machine. */
  readonly folder: string;
  readonly launcher: string;
  readonly program: MonitorProgram;
  readonly acceleration: Acceleration;
  /** Of the device, where there is KVM. */
  readonly kvmGroup: number | null;
  readonly groups: Cgroups;
  readonly files: StoredMachineFiles;
  readonly layers: StoredLayers;
  readonly disks: StoredMachineDisks;
  readonly templates: StoredTemplates;
  /** Of this machine, in bytes. */
  readonly memoryBytes: number;
  readonly log: (message: string, error?: unknown) => void;
}

export class Machines implements MachineHost {
  readonly #options: MachinesOptions;
  readonly #machines = new Map<string, Machine>();

  constructor(options: MachinesOptions) {
    this.#options = options;
  }

  get provider(): string {
    return `QEMU ${this.#options.program.version}`;
  }

  get acceleration(): Acceleration {
    return this.#options.acceleration;
  }

  get mostMemoryBytes(): number {
    return Math.max(0, this.#options.memoryBytes - OVERHEAD[this.acceleration.kind]);
  }

  get files(): StoredMachineFiles {
    return this.#options.files;
  }

  get layers(): StoredLayers {
    return this.#options.layers;
  }

  get disks(): StoredMachineDisks {
    return this.#options.disks;
  }

  get templates(): StoredTemplates {
    return this.#options.templates;
  }

  get folder(): string {
    return this.#options.folder;
  }

  async start(request: StartMachine): Promise<HostedMachine> {
    const { id } = request;
    if (this.#machines.has(id)) throw hostErrors.MACHINE_EXISTS(id);
    const machine = new Machine(request, this.#freeSlot(), this.#options, () => this.#machines.delete(id));
    this.#machines.set(id, machine);
    try {
      await machine.start();
    } catch (error) {
      await machine.remove();
      if (error instanceof SkerryError) throw error;
      throw hostErrors.MACHINE_NOT_STARTED(id, (error as Error).message).because(error);
    }
    return machine;
  }

  /** Ends what an earlier run of the node left: monitors end with the process that started them, their folders do not. */
  async clear(): Promise<void> {
    const { folder, groups, log } = this.#options;
    for (const id of await readdir(folder).catch(() => [])) {
      try {
        await groups.get(id).kill();
        await groups.get(id).remove();
        await rm(join(folder, id), { recursive: true, force: true });
      } catch (error) {
        log(`the machine ${id} of an earlier run could not be removed`, error);
      }
    }
  }

  /** Ends all. */
  async close(): Promise<void> {
    await Promise.all([...this.#machines.values()].map((machine) => machine.remove()));
    await rm(this.#options.folder, { recursive: true, force: true });
  }

  #freeSlot(): number {
    const taken = new Set([...this.#machines.values()].map(({ slot }) => slot));
    for (let slot = 0; slot < MOST_MACHINES; slot++) if (!taken.has(slot)) return slot;
    throw hostErrors.TOO_MANY_MACHINES(MOST_MACHINES);
  }
}

/** What the monitor inherits, by the number it has there. */
type Inherited = Map<number, number>;

class Machine implements HostedMachine {
  readonly id: string;
  readonly labels: MachineLabels;
  readonly slot: number;
  readonly exited: Promise<Exit>;
  channels!: MachineChannels;
  readonly #request: StartMachine;
  readonly #options: MachinesOptions;
  readonly #folder: string;
  readonly #onRemoved: () => void;
  #tellExit!: (exit: Exit) => void;
  #group: Cgroup | null = null;
  #network: NetworkNamespace | null = null;
  #disk: { readonly file: FileHandle; release(): void } | null = null;
  #template: NewTemplate | null = null;
  #child: ChildProcess | null = null;
  /** Resolves when its monitor has ended. */
  #ended: Promise<void> = Promise.resolve();
  #removing: Promise<void> | null = null;
  #stopped = false;

  constructor(request: StartMachine, slot: number, options: MachinesOptions, onRemoved: () => void) {
    this.id = request.id;
    this.labels = request.labels;
    this.slot = slot;
    this.#request = request;
    this.#options = options;
    this.#onRemoved = onRemoved;
    this.#folder = join(options.folder, request.id);
    this.exited = new Promise((resolve) => {
      this.#tellExit = resolve;
    });
  }

  async start(): Promise<void> {
    const { groups, acceleration } = this.#options;
    const { memoryBytes, cpus, cpuMillicores, cpuWeight } = this.#request;
    await mkdir(join(this.#folder, 'root'), { recursive: true, mode: 0o700 });
    const { group } = await groups.create(this.id, {
      memoryBytes: memoryBytes + OVERHEAD[acceleration.kind],
      cpuMillicores,
      cpuWeight,
      pids: THREADS + cpus,
    });
    this.#group = group;
    const inherited: Inherited = new Map();
    try {
      await this.#openNetwork(inherited);
      const arguments_ = await this.#openFiles(inherited);
      const channels = await openChannels(inherited);
      try {
        this.#spawn(arguments_, inherited);
      } catch (error) {
        for (const fd of Object.values(channels)) await closeFd(fd);
        throw error;
      }
      this.channels = channels;
    } finally {
      for (const fd of inherited.values()) await closeFd(fd);
    }
  }

  sockets(count: number): Promise<number[]> {
    const network = this.#network;
    return network ? network.sockets(count) : Promise.reject(new Error('it has no network yet'));
  }

  outbound(): Promise<Sockets> {
    const network = this.#network;
    if (!network || !this.#request.outbound) return Promise.reject(new Error('nothing leaves it'));
    return network.takeOutbound();
  }

  async pause(): Promise<void> {
    await this.#group?.freeze();
  }

  async resume(): Promise<void> {
    await this.#group?.thaw();
  }

  async usage(): Promise<MachineUsage> {
    const used = await this.#group?.usage();
    return { cpuMs: (used?.cpuUs ?? 0) / 1000, memoryBytes: used?.memoryBytes ?? 0 };
  }

  async limit({ cpuMillicores }: { readonly cpuMillicores: number }): Promise<void> {
    await this.#group?.setLimits({ cpuMillicores });
  }

  async keepTemplate(key: string): Promise<void> {
    const template = this.#template;
    if (!template) throw hostErrors.TEMPLATE_INCOMPLETE('it was not started as one');
    await this.#end();
    this.#template = null;
    try {
      await this.#options.templates.keep(template, key);
    } catch (error) {
      await template.discard();
      throw error;
    }
  }

  remove(): Promise<void> {
    this.#removing ??= this.#remove();
    return this.#removing;
  }

  async #openNetwork(inherited: Inherited): Promise<void> {
    const { outbound } = this.#request;
    const network = await NetworkNamespace.make(MACHINE_LINK.host);
    this.#network = network;
    inherited.set(QEMU_FDS.tap, await network.openWire(MACHINE_LINK, outbound));
    // Before the guest runs: what that asks for first waits, and is not lost.
    if (outbound) await network.openOutbound();
  }

  /** Options of the launcher, and the command. */
  async #openFiles(inherited: Inherited): Promise<{ launcher: string[]; command: string[]; clone: boolean }> {
    const { program, files, disks, templates, acceleration, kvmGroup } = this.#options;
    const { memory, kernel, initramfs, layers, memoryBytes } = this.#request;
    const user = monitorUser(this.slot);
    const root = join(this.#folder, 'root');
    const binds: string[] = [];
    const show = (source: string, inside: string) => binds.push('--bind-read-only', `${source}:${root}${inside}`);
    for (const [inside, source] of program.files) show(source, inside);
    const isClone = memory.kind === 'clone';
    if (isClone) {
      const { memory: path, state } = await templates.files(memory.template);
      show(path, INSIDE.memory);
      inherited.set(QEMU_FDS.state, await openForRead(state));
      show(PRIVATE_MEMORY, PRIVATE_MEMORY_INSIDE);
    } else {
      show(await files.path(kernel), INSIDE.kernel);
      if (initramfs !== null) show(await files.path(initramfs), INSIDE.initramfs);
      if (memory.kind === 'template') {
        this.#template = await templates.begin(this.id, memoryBytes, user);
        binds.push('--bind', `${this.#template.memory}:${root}${INSIDE.memory}`);
        binds.push('--bind', `${this.#template.stateSocket}:${root}${INSIDE.state}`);
      }
    }
    if (layers !== null) {
      this.#disk = await disks.take(layers);
      inherited.set(QEMU_FDS.disk, await openForRead(`/proc/self/fd/${this.#disk.file.fd}`));
    }
    const usesKvm = acceleration.kind === 'kvm';
    if (usesKvm) binds.push('--device', `${KVM}:${root}${KVM}`);
    const places = { program: program.path, firmware: program.firmware, ...INSIDE };
    const readsOnly = program.atLeast(8, 2);
    return {
      clone: isClone && !readsOnly,
      command: qemuCommandLine(this.#request, { acceleration: acceleration.kind, places, readsOnly }),
      launcher: [
        ...['--mount-namespace', '--hide', root, ...binds],
        ...(this.#group as Cgroup).folders.flatMap((folder) => ['--cgroup', folder]),
        ...['--chroot', root, '--directory', '/'],
        ...['--user', `${user}:${usesKvm && kvmGroup !== null ? kvmGroup : user}`],
        ...['--isolate', '--die-with-parent'],
        '--',
      ],
    };
  }

  #spawn(
    { launcher, command, clone }: { launcher: readonly string[]; command: readonly string[]; clone: boolean },
    inherited: Inherited,
  ): void {
    const network = this.#network as NetworkNamespace;
    const last = Math.max(...inherited.keys());
    const networkFd = last + 1;
    const stdio: StdioOptions = ['ignore', 'ignore', 'pipe'];
    for (let fd = stdio.length; fd <= last; fd++) stdio.push(inherited.get(fd) ?? 'ignore');
    stdio.push(network.fd);
    const kept = [...inherited.keys()].flatMap((fd) => ['--keep', String(fd)]);
    const options = ['--network-namespace', String(networkFd), ...kept, ...launcher];
    const child = spawn(this.#options.launcher, [...options, ...command], {
      stdio,
      env: clone ? { LD_PRELOAD: PRIVATE_MEMORY_INSIDE, SKERRY_PRIVATE_MEMORY: INSIDE.memory } : {},
      cwd: '/',
    });
    this.#child = child;
    let said = '';
    (child.stderr as Readable).setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-LAST_WORDS);
    });
    this.#ended = new Promise((resolve) => {
      child.once('error', () => resolve());
      child.once('close', (code, signal) => {
        void this.#tellEnd(code, signal, said).finally(resolve);
      });
    });
  }

  async #tellEnd(code: number | null, signal: NodeJS.Signals | null, said: string): Promise<void> {
    const kills = (await this.#group?.oomKills().catch(() => null)) ?? 0;
    this.#tellExit(exitOf(code ?? 128 + constants.signals[signal as NodeJS.Signals], said, kills > 0, this.#stopped));
  }

  async #end(): Promise<void> {
    this.#stopped = true;
    await this.#group?.kill().catch((error: unknown) => this.#options.log(`ending ${this.id}`, error));
    // What waits for it outside has joined the group too, unless it was just being started.
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  async #remove(): Promise<void> {
    await this.#end();
    await this.#group?.remove().catch((error: unknown) => this.#options.log(`removing the group of ${this.id}`, error));
    await this.#network?.close();
    await this.#disk?.file.close();
    this.#disk?.release();
    await this.#template?.discard();
    await rm(this.#folder, { recursive: true, force: true });
    this.#tellExit({ code: null, signal: 'SIGKILL', reason: 'stopped', message: 'it was removed' });
    this.#onRemoved();
  }
}

/** A descriptor that nothing else closes. */
async function openForRead(path: string): Promise<number> {
  const file = await open(path, 'r');
  try {
    return await dupFd(file.fd);
  } finally {
    await file.close();
  }
}

/** The node's ends of three streams; the monitor's are added to what it inherits. */
async function openChannels(inherited: Inherited): Promise<MachineChannels> {
  const own: Record<keyof MachineChannels, number> = { control: -1, agent: -1, console: -1 };
  for (const name of ['control', 'agent', 'console'] as const) {
    const [theirs, ours] = await streamPair();
    inherited.set(QEMU_FDS[name], theirs);
    own[name] = ours;
  }
  return own;
}

function exitOf(status: number, said: string, outOfMemory: boolean, stopped: boolean): Exit {
  if (stopped) return { code: null, signal: 'SIGKILL', reason: 'stopped', message: 'it was removed' };
  if (outOfMemory) {
    return { code: status, signal: 'SIGKILL', reason: 'out-of-memory', message: 'its monitor ran out of memory' };
  }
  const words =
    said
      .trim()
      .split('\n')
      .at(-1)
      ?.replaceAll(/[^\x20-\x7e]/g, '?') ?? '';
  // The guest has powered off, or its kernel has panicked and wanted to boot again.
  if (status === 0) return { code: 0, signal: null, reason: 'exited', message: 'the machine powered off' };
  const how = status > 128 ? `was ended by signal ${status - 128}` : `ended with status ${status}`;
  return { code: status, signal: null, reason: 'failed', message: `its monitor ${how}${words ? `: ${words}` : ''}` };
}
