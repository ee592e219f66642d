/** One container of hostd: started by the launcher, conmon and its runtime, watched until it ends, and removed with all it had. */
import { type ChildProcess, execFile, type StdioOptions, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, watch, writeFileSync } from 'node:fs';
import { type FileHandle, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import * as z from 'zod';
import { type Cgroup, type Cgroups, HostProcess } from '../../native/host/index.ts';
import type { Exit } from '../../runtime/driver.ts';
import type {
  ContainerLabels,
  ContainerOutput,
  ContainerProcess,
  ContainerUsage,
  Execution,
  HostedContainer,
  OutboundSockets,
  StartContainer,
  Stdio,
} from '../../runtime/drivers/container/host.ts';
import { exitOf, parseAnswer, textOf, unwrittenExit } from './conmon-answers.ts';
import { containerConfig, processConfig } from './container-config.ts';
import { endEntered, enteredProcesses } from './entered-processes.ts';
import { hostErrors } from './errors.ts';
import type { StoredLayers } from './host-layers.ts';
import { containerIds, LAYER_IDS, MOST_CONTAINERS } from './ids.ts';
import { writeNameFiles } from './name-files.ts';
import { NetworkNamespace } from './network-namespaces.ts';
import { OciRuntime, RUNTIME_NAMES } from './oci-runtime.ts';
import { OutputFollower } from './output-follower.ts';
import type { SeccompFilter } from './seccomp.ts';
import { catches, signalNumber } from './signals.ts';
import { unmounts } from './unmounts.ts';
import type { Volumes } from './volumes.ts';

const run = promisify(execFile);

/** Behind stdin, stdout, stderr and the pipe that conmon tells by. */
const FIRST_VOLUME_FD = 4;
/** Exit status of a command that cannot be found, as a shell tells it. */
const COMMAND_NOT_FOUND = 127;
const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
/** Begins the names of files of a further process. */
const EXECUTION = 'exec-';
/** Processes at once beside the first one of a container. */
const MOST_EXECUTIONS = 64;
/** What conmon keeps of a container's output until the node has read it, in bytes. */
const OUTPUT_BYTES = 1024 * 1024;
/** conmon has written down how a container ended within this, or never does; in milliseconds. */
const EXIT_MS = 1000;
/** After this long conmon is taken to have been killed, in milliseconds. */
const UNWRITTEN_MS = 10_000;
/** conmon tells of a container that could not be made within this, or never; in milliseconds. */
const CREATE_MS = 30_000;

export interface ContainerOptions {
  /** In memory (`/run`): nothing in it is worth keeping over a restart of the machine. */
  readonly folder: string;
  readonly programs: { readonly launcher: string; readonly conmon: string };
  /** Of new containers. */
  readonly runtime: OciRuntime;
  /** Its name and version. */
  readonly version: string;
  readonly seccomp: SeccompFilter;
  readonly groups: Cgroups;
  readonly layers: StoredLayers;
  readonly volumes: Volumes;
  readonly log: (message: string, error?: unknown) => void;
}

/** `state.json` of a container's folder. */
export const State = z.object({
  slot: z
    .int()
    .min(0)
    .max(MOST_CONTAINERS - 1),
  labels: z.object({ workload: z.string(), revision: z.string() }),
  /** By name. */
  volumes: z.array(z.string()).default([]),
  /** That it runs by, whatever new ones do. */
  runtime: z.enum(RUNTIME_NAMES).default('crun'),
});
export type State = z.infer<typeof State>;

export class Container implements HostedContainer {
  readonly id: string;
  readonly slot: number;
  readonly labels: ContainerLabels;
  readonly volumes: readonly string[];
  readonly exited: Promise<Exit>;
  readonly #folder: string;
  readonly #options: ContainerOptions;
  readonly #runtime: OciRuntime;
  readonly #group: Cgroup;
  readonly #onRemoved: () => void;
  #tellExit!: (exit: Exit) => void;
  #network: NetworkNamespace | null = null;
  #follower: OutputFollower | null = null;
  /** Resolves when somebody has asked for its output, or it is removed. */
  readonly #followed: Promise<void>;
  #tellFollowed!: () => void;
  /** By a conmon, which writes down how it ends. */
  #kept = false;
  #executions = 0;
  #serial = 0;
  #unwatch = () => {};
  #removing: Promise<void> | null = null;

  constructor(id: string, { slot, labels, volumes, runtime }: State, options: ContainerOptions, onRemoved: () => void) {
    this.id = id;
    this.slot = slot;
    this.labels = labels;
    this.volumes = volumes;
    this.#options = options;
    this.#onRemoved = onRemoved;
    this.#folder = join(options.folder, id);
    this.#runtime = new OciRuntime(runtime);
    this.#group = options.groups.get(id);
    this.exited = new Promise((resolve) => {
      this.#tellExit = resolve;
    });
    this.#followed = new Promise((resolve) => {
      this.#tellFollowed = resolve;
    });
  }

  /** @param layers their folders, the topmost first */
  async start(request: StartContainer, layers: readonly string[]): Promise<void> {
    this.#makeFolder(request);
    this.#network = await NetworkNamespace.make();
    if (request.outbound) {
      await this.#network.addAddresses(request.outbound);
      // Before its process runs: what that asks for first waits, and is not lost.
      await this.#network.openOutbound();
    }
    const { fd } = this.#network;
    this.#writeConfig(request, this.#runtime.startsInNetwork ? null : `/proc/${process.pid}/fd/${fd}`);
    const running = this.#run(request, layers, this.#runtime.startsInNetwork ? [fd] : []);
    this.#network.prepareSockets();
    await running;
    this.#kept = true;
    this.#watchExit();
  }

  /** Takes over a container that an earlier run of the node started; false when it does not run. */
  async adopt(): Promise<boolean> {
    const pid = Number(await readFile(join(this.#folder, 'pid'), 'utf8').catch(() => ''));
    const { stdout } = await this.#ask('state', this.id).catch(() => ({ stdout: '{}' }));
    const { status, pid: runs } = JSON.parse(stdout) as { status?: string; pid?: number };
    this.#watchExit();
    if ((status !== 'running' && status !== 'paused') || runs !== pid) return false;
    this.#kept = true;
    this.#network = await NetworkNamespace.of(pid);
    await this.#endExecutions(pid);
    return true;
  }

  /** Those of an earlier run of the node: nobody waits for them any more. */
  async #endExecutions(first: number): Promise<void> {
    for (const pid of await enteredProcesses(first, await this.#group.processes())) endEntered(pid);
    const left = (await readdir(this.#folder)).filter((name) => name.startsWith(EXECUTION));
    await Promise.all(left.map((name) => rm(join(this.#folder, name), { force: true })));
  }

  follow(output: (piece: ContainerOutput) => Promise<void> | void): void {
    this.#follower ??= new OutputFollower(join(this.#folder, 'log'), join(this.#folder, 'log.position'), output);
    this.#tellFollowed();
  }

  sockets(count: number): Promise<number[]> {
    const network = this.#network;
    return network ? network.sockets(count) : Promise.reject(new Error('it has no network yet'));
  }

  outbound(): Promise<OutboundSockets> {
    const network = this.#network;
    return network ? network.takeOutbound() : Promise.reject(new Error('it has no network yet'));
  }

  async signal(name: string): Promise<boolean> {
    const pid = await readFile(join(this.#folder, 'pid'), 'utf8');
    if (!catches(await readFile(`/proc/${pid.trim()}/status`, 'utf8'), signalNumber(name))) return false;
    await this.#ask('kill', this.id, name);
    return true;
  }

  async exec(process: ContainerProcess, { stdin, stdout, stderr }: Stdio): Promise<Execution> {
    if (this.#executions >= MOST_EXECUTIONS) throw hostErrors.TOO_MANY_EXECUTIONS(this.id, MOST_EXECUTIONS);
    this.#executions++;
    const { programs, groups } = this.#options;
    const stem = join(this.#folder, `${EXECUTION}${++this.#serial}`);
    const pidFile = `${stem}.pid`;
    const over = async () => {
      this.#executions--;
      await Promise.all([`${stem}.json`, pidFile].map((path) => rm(path, { force: true })));
    };
    try {
      await writeFile(`${stem}.json`, JSON.stringify(processConfig(process)));
      const runtime = [this.#runtime.path, ...this.#runtimeOptions()];
      const exec = ['exec', '--process', `${stem}.json`, '--pid-file', pidFile, this.id];
      const network = this.#runtime.startsInNetwork ? [this.#networkFd()] : [];
      const inNetwork = network.flatMap(() => ['--network-namespace', '3']);
      // One that is not in the container yet when hostd ends does not get there.
      const launcher = ['--die-with-parent', '--mount-namespace', ...unmounts(groups), ...inNetwork, '--'];
      const child = spawn(programs.launcher, [...launcher, ...runtime, ...exec], {
        stdio: [stdin, stdout, stderr, ...network],
        env: { PATH: SYSTEM_PATH },
        cwd: this.#folder,
      });
      const exited = new Promise<number>((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, signal) => {
          // Without it no process came to be: the runtime has said why to its stderr, if it was not ended itself.
          if (code !== null && !existsSync(pidFile)) resolve(COMMAND_NOT_FOUND);
          else resolve(code ?? 128 + constants.signals[signal as NodeJS.Signals]);
        });
      }).finally(over);
      // Told to whoever waits for it; that may be nobody.
      exited.catch(() => {});
      return { exited, kill: () => this.#killExecution(child, pidFile) };
    } catch (error) {
      await over();
      throw error;
    }
  }

  pause(): Promise<void> {
    return this.#group.freeze();
  }

  resume(): Promise<void> {
    return this.#group.thaw();
  }

  async resize(cpuMillicores: number): Promise<void> {
    await this.#group.setLimits({ cpuMillicores });
  }

  async usage(): Promise<ContainerUsage> {
    const { cpuUs, memoryBytes, pids } = await this.#group.usage();
    return { cpuMs: (cpuUs ?? 0) / 1000, memoryBytes: memoryBytes ?? 0, processes: pids ?? 0 };
  }

  remove(): Promise<void> {
    this.#removing ??= this.#remove();
    return this.#removing;
  }

  /** Goes on without the node. */
  async letGo(): Promise<void> {
    this.#unwatch();
    await this.#follower?.stop();
    await this.#network?.close();
  }

  /** Where one is mounted that the container is to have. */
  #volumeAt(at: number): string {
    return join(this.#folder, 'volumes', String(at));
  }

  /** In memory, where it is done sooner than another thread is asked. */
  #makeFolder({ labels, volumes }: StartContainer): void {
    mkdirSync(this.#options.folder, { recursive: true });
    chmodSync(this.#options.folder, 0o711);
    mkdirSync(this.#folder, { mode: 0o711 });
    for (const name of ['rootfs', 'exits', 'sockets', 'volumes']) mkdirSync(join(this.#folder, name));
    for (const at of volumes.keys()) mkdirSync(this.#volumeAt(at));
    writeFileSync(
      join(this.#folder, 'state.json'),
      JSON.stringify({
        slot: this.slot,
        labels,
        volumes: [...this.volumes],
        runtime: this.#runtime.name,
      } satisfies State),
    );
    // Watched before conmon makes it.
    writeFileSync(join(this.#folder, 'log'), '');
  }

  #writeConfig({ spec, volumes }: StartContainer, networkNamespace: string | null): void {
    writeNameFiles(this.#folder, spec.hostname);
    const { base: first, count } = containerIds(this.slot);
    const config = containerConfig(spec, {
      root: join(this.#folder, 'rootfs'),
      ids: { first, count },
      cgroup: { path: this.#group.path, isV2: this.#options.groups.layout.mode === 'v2' },
      networkNamespace,
      nameFiles: this.#folder,
      binds: volumes.map(({ path }, at) => ({ source: this.#volumeAt(at), path, writable: true })),
      seccomp: this.#options.seccomp,
    });
    writeFileSync(join(this.#folder, 'config.json'), JSON.stringify(config));
  }

  #networkFd(): number {
    if (!this.#network) throw new Error('it has no network yet');
    return this.#network.fd;
  }

  #runtimeOptions(): string[] {
    return this.#runtime.options(this.#options.folder);
  }

  /** What a command of the runtime prints; it throws when that fails. */
  #ask(...command: string[]): Promise<{ stdout: string }> {
    return run(this.#runtime.path, [...this.#runtimeOptions(), ...command]);
  }

  /** conmon stays with the container, in a mount namespace that ends with the two of them. */
  async #run(request: StartContainer, layers: readonly string[], network: readonly number[]): Promise<void> {
    const images: FileHandle[] = [];
    try {
      for (const volume of request.volumes) images.push(await this.#options.volumes.take(volume));
      const launched = this.#launch(request, layers, images, network);
      void this.#options.groups.expectMove(launched);
      await launched;
    } finally {
      for (const image of images) await image.close();
    }
  }

  async #launch(
    { writableBytes, stdio }: StartContainer,
    layers: readonly string[],
    volumes: readonly FileHandle[],
    network: readonly number[],
  ): Promise<void> {
    const { programs, groups } = this.#options;
    const folder = this.#folder;
    const { base, count } = containerIds(this.slot);
    const launcher = [
      '--mount-namespace',
      ...unmounts(groups),
      ...['--own-devices', join(folder, 'rootfs')],
      ...['--root', join(folder, 'rootfs'), '--upper', String(writableBytes)],
      ...['--idmap', `${LAYER_IDS.base}:${base}:${count}`],
      ...layers.flatMap((layer) => ['--lower', layer]),
      ...volumes.flatMap((_, at) => ['--volume', `${FIRST_VOLUME_FD + at}:${this.#volumeAt(at)}`]),
      ...network.flatMap((_, at) => ['--network-namespace', String(FIRST_VOLUME_FD + volumes.length + at)]),
      ...['--keep', '3'],
    ];
    const conmon = [
      ...['--sync', '--cid', this.id, '--cuuid', this.id, '--runtime', programs.launcher],
      ...['--as-runtime', '--', this.#runtime.path, ...this.#runtimeOptions()].flatMap((word) => [
        '--runtime-arg',
        word,
      ]),
      ...['--bundle', folder, '--container-pidfile', join(folder, 'pid')],
      ...(stdio
        ? ['--log-path', 'passthrough']
        : ['--log-path', `k8s-file:${join(folder, 'log')}`, '--log-size-max', String(OUTPUT_BYTES)]),
      ...['--exit-dir', join(folder, 'exits'), '--socket-dir-path', join(folder, 'sockets')],
    ];
    const child = spawn(programs.launcher, [...launcher, '--', programs.conmon, ...conmon], {
      stdio: [
        ...[stdio?.stdin ?? 'ignore', stdio?.stdout ?? 'ignore', stdio?.stderr ?? 'pipe', 'pipe'],
        ...volumes.map(({ fd }) => fd),
        ...network,
      ] as StdioOptions,
      env: { PATH: SYSTEM_PATH, _OCI_SYNCPIPE: '3' },
      cwd: folder,
      detached: true,
    });
    // It is conmon from now on, and stays when the node ends.
    child.unref();
    const [said, told] = await Promise.all([
      textOf(child.stdio[3] as Readable, CREATE_MS, () => child.kill('SIGKILL')),
      child.stderr ? textOf(child.stderr, CREATE_MS) : '',
    ]);
    const answer = parseAnswer(said);
    if (answer === null || answer.pid <= 0) throw new Error((answer?.message || told || 'conmon did not tell').trim());
  }

  #watchExit(): void {
    const exits = join(this.#folder, 'exits');
    const look = async () => {
      const path = join(exits, this.id);
      if (!existsSync(path)) return;
      const text = await readFile(path, 'utf8').catch(() => '');
      // It is written in one piece, but made before.
      if (text === '') return;
      this.#unwatch();
      await this.#followed;
      await this.#follower?.close();
      const kills = (await this.#group.oomKills().catch(() => null)) ?? 0;
      this.#tellExit(exitOf(Number(text), kills > 0));
    };
    const watcher = watch(exits, () => void look());
    watcher.on('error', () => {});
    const over = new AbortController();
    this.#unwatch = () => {
      watcher.close();
      over.abort();
    };
    void look();
    this.#watchProcess(over.signal).catch((error: unknown) => this.#options.log(`watching ${this.id}`, error));
  }

  /** conmon writes down how its process ended; where conmon was killed, the kernel tells that it has. */
  async #watchProcess(over: AbortSignal): Promise<void> {
    const pid = Number(await readFile(join(this.#folder, 'pid'), 'utf8').catch(() => ''));
    // None where it has ended already.
    const process = pid > 0 ? await HostProcess.open(pid).catch(() => null) : null;
    const close = () => void process?.close().catch(() => {});
    over.addEventListener('abort', close, { once: true });
    if (over.aborted) return close();
    const exit = (await process?.exited()) ?? null;
    if (over.aborted) return;
    await this.#written(UNWRITTEN_MS);
    if (over.aborted) return;
    this.#unwatch();
    await this.#follower?.close();
    this.#tellExit(unwrittenExit(exit));
  }

  /** Its process has ended: waits until how that was told, if it is. */
  async #written(mostMs: number): Promise<void> {
    const over = new AbortController();
    await Promise.race([this.exited, sleep(mostMs, undefined, { signal: over.signal }).catch(() => {})]);
    over.abort();
  }

  /** The runtime waits for the process that it started, which does not end with it. */
  async #killExecution(runtime: ChildProcess, pidFile: string): Promise<void> {
    if (runtime.exitCode !== null || runtime.signalCode !== null) return;
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
    // In this container, and no other that has the number by now: as long as the runtime runs it has not reaped it.
    if (pid > 0 && runtime.exitCode === null && runtime.signalCode === null) {
      endEntered(pid);
    } else runtime.kill('SIGKILL');
  }

  async #remove(): Promise<void> {
    const { log } = this.#options;
    await this.#group.kill().catch((error: unknown) => log(`ending ${this.id}`, error));
    this.#tellFollowed();
    // How it ended is told before its folder goes.
    if (this.#kept) await this.#written(EXIT_MS);
    await this.#ask('delete', '--force', this.id).catch(() => {});
    await this.#group.remove().catch((error: unknown) => log(`removing the group of ${this.id}`, error));
    this.#unwatch();
    await this.#follower?.close().catch(() => {});
    await this.#network?.close();
    // conmon may just be writing the exit status into it.
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
    this.#tellExit({ code: null, signal: 'SIGKILL', reason: 'stopped', message: 'it was removed' });
    this.#onRemoved();
  }
}
