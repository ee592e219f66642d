/** The driver of microVMs: an OCI image in a machine with a kernel of its own. */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { ContentStore } from '../../../images/store/index.ts';
import type { Driver, Instance, Probe, ProcessStreams, Progress } from '../../driver.ts';
import { AllowList } from '../../egress/allow-list.ts';
import { Connector } from '../../egress/connector.ts';
import type { Resolve } from '../../egress/resolver.ts';
import type { Trust } from '../../egress/trust.ts';
import { endInOneLine } from '../../health/one-line.ts';
import { untilReady } from '../../health/readiness.ts';
import type { WorkloadLogs } from '../../logs/workload-logs.ts';
import { InnerSockets } from '../../network/inner-sockets.ts';
import { insideOf, type Neighbours } from '../../network/neighbours.ts';
import { OutboundNetwork } from '../../network/outbound.ts';
import { Upstream } from '../../proxy/upstream.ts';
import type { SecretStore } from '../../secrets/secret-store.ts';
import type { Limits, Revision } from '../../workload/revision.ts';
import { checkTarget } from '../image/check-target.ts';
import { imageErrors } from '../image/errors.ts';
import { CONNECT_MS, ImageInstance } from '../image/instance.ts';
import { loggedOutput } from '../image/logged-output.ts';
import { type PreparedImage, PreparedImages } from '../image/prepared.ts';
import { checkOf, commandOf, environmentOf, portOf, slug } from '../image/process.ts';
import type { GuestConfiguration, GuestProcess } from './agent/messages.ts';
import type { AgentProcess } from './agent/process.ts';
import { machineErrors } from './errors.ts';
import type { HostedMachine, MachineHost, StartMachine } from './host.ts';
import { GuestFiles } from './kernel.ts';
import { bootMachine, KERNEL_ARGUMENTS, type Machine } from './machine.ts';
import { MACHINE_ADDRESSES, MACHINE_LINK } from './network.ts';
import { MachineSandbox, startFailure } from './sandbox.ts';
import { guestMemory, Templates } from './templates.ts';

export interface MicrovmDriverOptions {
  readonly host: MachineHost;
  readonly blobs: ContentStore;
  readonly logs: WorkloadLogs;
  readonly secrets: Pick<SecretStore, 'valuesFor'>;
  readonly egress: { readonly resolve: Resolve; readonly trust: Trust };
  readonly neighbours: Neighbours;
  readonly log: (message: string, error?: unknown) => void;
}

/** Processes and threads of one workload. */
const PIDS = 4096;
/** All that there is: a machine is its root's. */
const CAPABILITIES = (1n << 41n) - 1n;
/** What the mount points of a read-only root take, in bytes. */
const LEAST_WRITABLE = 2 ** 20;
/** Random bytes for each machine's kernel. */
const ENTROPY_BYTES = 64;
/** Of what it said last, in a message; in characters. */
const LAST_WORDS = 300;
const ETHERNET_MTU = 1500;

/** A workload's process in its machine. */
interface Running {
  readonly machine: Machine;
  readonly process: AgentProcess;
  readonly context: Omit<GuestProcess, 'command'>;
  readonly prepared: PreparedImage;
  readonly memoryBytes: number;
  lastWords(): string;
}

export class MicrovmDriver implements Driver {
  readonly isolation = 'vm';
  readonly replicated = true;
  readonly #options: MicrovmDriverOptions;
  readonly #images: PreparedImages;
  readonly #files: GuestFiles;
  readonly #templates: Templates;
  /** Diff ids of the layers under each machine that there is. */
  readonly #layersOf = new Map<HostedMachine, readonly string[]>();
  /** What the allow-lists of machines let out. */
  readonly #networks = new Set<OutboundNetwork>();

  constructor(options: MicrovmDriverOptions) {
    this.#options = options;
    this.#images = new PreparedImages(options.blobs, options.host.layers);
    this.#files = new GuestFiles(options.host.files);
    this.#templates = new Templates(options.host, options.log);
  }

  async probe(): Promise<Probe> {
    const { provider, acceleration } = this.#options.host;
    const inHardware = acceleration.kind === 'kvm';
    const kernel = await this.#files.kernel().then(
      () => null,
      (error: Error) => error.message,
    );
    return {
      isolation: 'vm',
      available: true,
      provider: `${provider}, ${inHardware ? 'KVM' : 'emulation'}`,
      quality: acceleration.why,
      advice: [
        ...(kernel === null ? [] : [kernel]),
        ...(inHardware ? [] : ['a machine with /dev/kvm in hardware runs guests at its own speed']),
      ],
    };
  }

  async check(revision: Revision, label: string, progress: Progress): Promise<void> {
    const image = await this.#images.read(revision, label);
    if (commandOf(revision, image).length === 0) throw imageErrors.IMAGE_NO_COMMAND(label);
    guestMemory(label, revision.limits.memoryBytes, this.#options.host.mostMemoryBytes);
    await this.#files.kernel();
    progress('unpacking the image');
    const { layers } = await this.#images.unpack(image, label);
    progress('making its root disk');
    await this.#options.host.disks.make(layers);
  }

  async prepare(revision: Revision): Promise<void> {
    const { layers } = await this.#images.of(revision);
    await this.#options.host.disks.make(layers);
    await this.#template(revision, revision.limits);
  }

  /** Disks are shared: those that no image has any more are swept with the images. */
  async release({ artifact }: Revision): Promise<void> {
    this.#images.forget(artifact.digest);
  }

  async start(revision: Revision, limits: Limits, streams?: ProcessStreams): Promise<Instance> {
    const began = performance.now();
    return this.#serve(await this.#launch(revision, limits, began, streams), revision, limits, began);
  }

  /** A machine ends with the node. */
  async adopt(): Promise<Instance | null> {
    return null;
  }

  /** What an earlier run left was removed by the host when it opened. */
  async recover(): Promise<void> {}

  /** Diff ids of the layers that machines stand on. */
  layersInUse(): Set<string> {
    return new Set([...this.#layersOf.values()].flat());
  }

  keptBytes(): number {
    return 0;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#networks].map((network) => network.close()));
    await this.#options.host.close();
  }

  /** The template that its machines go on from; null: they boot. */
  async #template(revision: Revision, limits: Limits): Promise<string | null> {
    if (revision.snapshot === 'none') return null;
    const { workload } = revision;
    const [kernel, initramfs] = [await this.#files.kernel(), await this.#files.agent()];
    const memoryBytes = guestMemory(workload, limits.memoryBytes, this.#options.host.mostMemoryBytes);
    return this.#templates.boot({ kernel, initramfs, memoryBytes, cpus: cpusOf(limits) });
  }

  /** A new machine, in which the workload's process runs. */
  async #launch(revision: Revision, limits: Limits, began: number, streams?: ProcessStreams): Promise<Running> {
    const { workload, id: revisionId } = revision;
    const { host, secrets } = this.#options;
    const prepared = await this.#images.of(revision);
    const [kernel, initramfs] = [await this.#files.kernel(), await this.#files.agent()];
    const memoryBytes = guestMemory(workload, limits.memoryBytes, host.mostMemoryBytes);
    const template = await this.#template(revision, limits);
    const request: StartMachine = {
      id: `${slug(workload)}-${revisionId}-${randomBytes(4).toString('hex')}`,
      labels: { workload, revision: revisionId },
      kernel,
      initramfs,
      kernelArguments: KERNEL_ARGUMENTS,
      layers: prepared.layers,
      cpus: cpusOf(limits),
      memoryBytes,
      // Until it is ready it has its processors whole: to boot is the node's work as much as its own.
      cpuMillicores: cpusOf(limits) * 1000,
      cpuWeight: 20 * (1 + revision.priority),
      outbound: revision.allow.length > 0,
      memory: template === null ? { kind: 'own' } : { kind: 'clone', template },
    };
    const machine = await this.#boot(request, workload, began + revision.limits.startTimeoutMs);
    try {
      const { image, user } = prepared;
      const command = commandOf(revision, image);
      const context = {
        env: environmentOf(revision, image, secrets),
        directory: image.config.workingDir,
        user,
        capabilities: CAPABILITIES,
        noNewPrivileges: false,
      };
      this.#openOutbound(machine.hosted, revision, await this.#outboundOf(machine.hosted, revision));
      const { agent } = machine;
      const hostname = slug(workload) || 'machine';
      const machineId = randomBytes(16).toString('hex');
      await agent.restored({ entropy: randomBytes(ENTROPY_BYTES), hostname, machineId });
      await agent.configure(configurationOf(revision, hostname));
      let last = '';
      const hear = (data: Buffer) => {
        last = (last + data.toString('utf8')).slice(-LAST_WORDS);
      };
      const stdio = this.#streamsOf(revision, hear, streams);
      const process = await agent.start({ ...context, command }, stdio).catch((error: unknown) => {
        throw startFailure(error, command[0] as string);
      });
      return { machine, process, context, prepared, memoryBytes, lastWords: () => endInOneLine(last, LAST_WORDS) };
    } catch (error) {
      await discard(machine);
      // A layer may have gone since.
      this.#images.forget(revision.artifact.digest);
      throw error;
    }
  }

  /** Once more from the start, where a template turns out to be of no use. */
  async #boot(request: StartMachine, name: string, until: number): Promise<Machine> {
    const { host, log } = this.#options;
    if (request.memory.kind !== 'clone') return bootMachine(host, request, name, until);
    try {
      return await bootMachine(host, request, name, until);
    } catch (error) {
      log(`a machine of ${name} did not go on from its template: it is booted`, error);
      await host.templates.delete(request.memory.template);
      return bootMachine(host, { ...request, memory: { kind: 'own' } }, name, until);
    }
  }

  /** What its process reads, and where what it writes goes: into the log, and on to whoever runs it. */
  #streamsOf(revision: Revision, hear: (data: Buffer) => void, streams?: ProcessStreams): ProcessStreams {
    const out = (stream: 'stdout' | 'stderr') =>
      loggedOutput(this.#options.logs, revision, stream, { to: streams?.[stream], hear });
    return { stdin: streams?.stdin ?? Readable.from([]), stdout: out('stdout'), stderr: out('stderr') };
  }

  /** An instance of a machine in which the process runs, once it is ready; else it is removed. */
  async #serve(running: Running, revision: Revision, limits: Limits, began: number): Promise<Instance> {
    const { machine, process, context, prepared, memoryBytes } = running;
    const { hosted } = machine;
    const sandbox = new MachineSandbox({ machine, process, context, memoryBytes });
    try {
      this.#layersOf.set(hosted, prepared.layers);
      void hosted.exited.then(() => this.#layersOf.delete(hosted));
      const sockets = new InnerSockets(hosted, MACHINE_LINK.guest);
      const { image } = prepared;
      const stopSignal = image.config.stopSignal ?? 'SIGTERM';
      const target = checkTarget(sandbox, sockets);
      const port = portOf(revision, image);
      if (!revision.process) await this.#ready(running, sandbox, revision, target, port, began);
      await hosted.limit({ cpuMillicores: limits.cpuMillicores });
      const connect = () => sockets.connect(port, CONNECT_MS);
      const upstream = revision.process
        ? null
        : await Upstream.open({ name: revision.workload, connections: limits.concurrency, connect });
      return new ImageInstance({
        revision,
        sandbox,
        sockets,
        upstream,
        liveness: revision.process ? null : this.#liveness(revision, target, port),
        lost: sandbox.lost,
        stopSignal,
        startMs: performance.now() - began,
      });
    } catch (error) {
      await sandbox.remove();
      throw error;
    }
  }

  /** How an instance is asked whether it is still well; null: it is not. */
  #liveness({ workload, id, liveCheck }: Revision, target: ReturnType<typeof checkTarget>, port: number) {
    if (!liveCheck) return null;
    const log = (text: string) => this.#options.logs.of(workload).write(id, '', 'node', text);
    return { check: checkOf(liveCheck.check), everyMs: liveCheck.everyMs, target, port, log };
  }

  async #outboundOf(hosted: HostedMachine, { allow }: Revision) {
    return allow.length === 0 ? null : hosted.outbound();
  }

  /** What it sends out goes where its allow-list says, until it ends. */
  #openOutbound(
    hosted: HostedMachine,
    { workload, id, allow: entries }: Revision,
    sockets: Awaited<ReturnType<HostedMachine['outbound']>> | null,
  ): void {
    if (!sockets) return;
    const { egress, neighbours, logs } = this.#options;
    const allow = new AllowList(entries);
    const connector = new Connector({ allow, ...egress, inside: insideOf(neighbours, workload) });
    const log = logs.of(workload);
    const tell = (message: string) => log.piece(id, '', 'stderr', Buffer.from(`skerry: ${message}\n`));
    const network = new OutboundNetwork(sockets, {
      ...{ workload, allow, connector, neighbours, tell },
      addresses: MACHINE_ADDRESSES,
    });
    this.#networks.add(network);
    void hosted.exited.then(() => {
      this.#networks.delete(network);
      return network.close();
    });
  }

  /** Resolves when it is ready. Throws MACHINE_ENDED, MACHINE_NOT_LISTENING, MACHINE_NOT_READY. */
  async #ready(
    { lastWords }: Running,
    sandbox: MachineSandbox,
    { workload, id, readyCheck = 'tcp', limits: { startTimeoutMs } }: Revision,
    target: ReturnType<typeof checkTarget>,
    port: number,
    began: number,
  ): Promise<void> {
    const check = checkOf(readyCheck);
    const until = began + startTimeoutMs;
    const found = await untilReady({ check, target, port, until, ended: sandbox.exited });
    if (found.state === 'ready') return;
    if (found.state === 'ended') {
      throw machineErrors.MACHINE_ENDED(workload, (await sandbox.exited).message, lastWords());
    }
    const error =
      readyCheck === 'tcp'
        ? machineErrors.MACHINE_NOT_LISTENING(workload, port, startTimeoutMs)
        : machineErrors.MACHINE_NOT_READY(workload, readyCheck, startTimeoutMs, found.why);
    this.#options.logs.of(workload).write(id, '', 'node', `it is ended: ${error.what}`);
    throw error;
  }
}

function cpusOf({ cpuMillicores }: Limits): number {
  return Math.min(32, Math.max(1, Math.ceil(cpuMillicores / 1000)));
}

async function discard({ hosted, monitor, agent }: Machine): Promise<void> {
  await hosted.remove();
  agent.close();
  monitor.close();
}

function configurationOf({ writableBytes, allow }: Revision, hostname: string): GuestConfiguration {
  const { host, guest, prefix } = MACHINE_LINK;
  const hosts = `127.0.0.1 localhost\n::1 localhost\n127.0.0.1 ${hostname}\n`;
  return {
    root: { device: 'vda', fileSystem: 'erofs' },
    writableBytes: Math.max(writableBytes ?? 0, LEAST_WRITABLE),
    readOnlyRoot: writableBytes === undefined,
    volumes: [],
    scratch: [],
    network: { mtu: ETHERNET_MTU, addresses: [`${guest}/${prefix}`], gateways: allow.length === 0 ? [] : [host] },
    files: [
      { path: '/etc/hosts', mode: 0o644, contents: hosts },
      { path: '/etc/resolv.conf', mode: 0o644, contents: `nameserver ${host}\noptions timeout:1 attempts:5\n` },
    ],
    pids: PIDS,
  };
}
