/** The driver of microVMs: an OCI image in a machine with a kernel of its own. */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { SkerryError } from '../../../errors/skerry-error.ts';
import type { StoredImage } from '../../../images/oci/index.ts';
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
import { OutboundNetwork, type Sockets } from '../../network/outbound.ts';
import { Upstream } from '../../proxy/upstream.ts';
import type { SecretStore } from '../../secrets/secret-store.ts';
import type { Limits, Revision } from '../../workload/revision.ts';
import { checkTarget } from '../image/check-target.ts';
import { imageErrors } from '../image/errors.ts';
import { CONNECT_MS, ImageInstance } from '../image/instance.ts';
import { loggedOutput } from '../image/logged-output.ts';
import { PreparedImages } from '../image/prepared.ts';
import { checkOf, commandOf, environmentOf, portOf, slug } from '../image/process.ts';
import type { GuestConfiguration, GuestProcess } from './agent/messages.ts';
import type { AgentProcess } from './agent/process.ts';
import { machineErrors } from './errors.ts';
import type { HostedMachine, MachineHost, MachineMemory, StartMachine } from './host.ts';
import { GuestFiles } from './kernel.ts';
import { checkKernel } from './kernel-image.ts';
import { bootMachine, kernelArguments, type Machine } from './machine.ts';
import { MACHINE_ADDRESSES, MACHINE_LINK } from './network.ts';
import { MachineSandbox, startFailure } from './sandbox.ts';
import { guestMemory, type TemplateParts, Templates } from './templates.ts';

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

/** Failures of a start that say nothing of the template that it began from. */
const NOT_THE_TEMPLATE = new Set(['MACHINE_NOT_STARTED', 'TOO_MANY_MACHINES', 'DISK_NOT_MADE', 'LAYER_NOT_HERE']);

/** A workload's process in its machine. */
interface Running {
  readonly machine: Machine;
  readonly process: AgentProcess;
  readonly context: Omit<GuestProcess, 'command'>;
  readonly image: StoredImage;
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
  /** Templates that revisions go on from, by `nameOf`. */
  readonly #templatesOf = new Map<string, readonly string[]>();
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
    await this.#kernel(revision, label);
    progress('unpacking the image');
    const { layers } = await this.#images.unpack(image, label);
    progress('making its root disk');
    await this.#options.host.disks.make(layers);
  }

  async prepare(revision: Revision): Promise<void> {
    const { layers } = await this.#images.of(revision);
    await this.#options.host.disks.make(layers);
    await this.#memory(revision, revision.limits);
  }

  /** Disks are shared: those that no image has any more are swept with the images. */
  async release(revision: Revision): Promise<void> {
    this.#images.forget(revision.artifact.digest);
    this.#templatesOf.delete(nameOf(revision));
    await this.sweepTemplates();
  }

  /** Removes templates that no revision which was prepared goes on from. */
  async sweepTemplates(): Promise<void> {
    await this.#templates.sweep(new Set([...this.#templatesOf.values()].flat()));
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

  /** Where the memory of a new machine comes from. Templates that are not there are made. */
  async #memory(revision: Revision, limits: Limits): Promise<MachineMemory> {
    const { snapshot = 'boot' } = revision;
    if (snapshot === 'none') return { kind: 'own' };
    const parts = await this.#parts(revision, limits);
    const template =
      snapshot === 'boot' ? await this.#templates.boot(parts) : await this.#appTemplate(revision, limits, parts);
    if (template === null) return { kind: 'own' };
    this.#templatesOf.set(nameOf(revision), [...(this.#templatesOf.get(nameOf(revision)) ?? []), template]);
    return { kind: 'clone', template };
  }

  /** Its digest, when the host has it. Throws NO_KERNEL, KERNEL_MISSING, KERNEL_UNFIT. */
  async #kernel({ kernel }: Revision, label: string): Promise<string> {
    if (kernel === undefined) return this.#files.kernel();
    const { blobs, host } = this.#options;
    if (await host.files.has(kernel)) return kernel;
    if (!(await blobs.has(kernel))) throw machineErrors.KERNEL_MISSING(label, kernel);
    const { path } = await blobs.open(kernel);
    await checkKernel(path, label);
    await this.#files.give(kernel, path);
    return kernel;
  }

  /** What machines of a revision have in common with those of others. */
  async #parts(revision: Revision, limits: Limits): Promise<TemplateParts> {
    const { workload } = revision;
    const memoryBytes = guestMemory(workload, limits.memoryBytes, this.#options.host.mostMemoryBytes);
    const [kernel, initramfs] = [await this.#kernel(revision, workload), await this.#files.agent()];
    return { kernel, initramfs, memoryBytes, cpus: cpusOf(limits) };
  }

  /** A machine of the revision itself, kept when it is ready. What it was told is in it: with other secrets it is another. */
  async #appTemplate(revision: Revision, limits: Limits, parts: TemplateParts): Promise<string | null> {
    const { image } = await this.#images.of(revision);
    const environment = environmentOf(revision, image, this.#options.secrets);
    const key = this.#templates.key({ ...parts, app: nameOf(revision), environment });
    return this.#templates.make(key, async () => {
      const began = performance.now();
      const until = began + revision.limits.startTimeoutMs;
      const request = { ...(await this.#request(revision, limits)), memory: { kind: 'template' } } as const;
      const machine = await bootMachine(this.#options.host, request, revision.workload, until);
      const running = await this.#begin(machine, revision, parts.memoryBytes);
      const sandbox = new MachineSandbox(running);
      try {
        await this.#ready(running, sandbox, revision, began);
        sandbox.letGo();
        await this.#templates.keep(machine, key);
      } catch (error) {
        await sandbox.remove();
        throw error;
      }
    });
  }

  async #request(revision: Revision, limits: Limits): Promise<Omit<StartMachine, 'memory'>> {
    const { workload, id } = revision;
    const { layers } = await this.#images.of(revision);
    return {
      ...(await this.#parts(revision, limits)),
      id: `${slug(workload)}-${id}-${randomBytes(4).toString('hex')}`,
      labels: { workload, revision: id },
      kernelArguments: kernelArguments(this.#options.host),
      layers,
      // Until it is ready it has its processors whole: to boot is the node's work as much as its own.
      cpuMillicores: cpusOf(limits) * 1000,
      cpuWeight: 20 * (1 + revision.priority),
      outbound: revision.allow.length > 0,
    };
  }

  /** A new machine, in which the workload's process runs. */
  async #launch(revision: Revision, limits: Limits, began: number, streams?: ProcessStreams): Promise<Running> {
    const until = began + revision.limits.startTimeoutMs;
    const request = await this.#request(revision, limits);
    const memory = await this.#memory(revision, limits);
    const machine = await this.#boot({ ...request, memory }, revision.workload, until);
    return this.#begin(machine, revision, request.memoryBytes, streams);
  }

  /** Once more from the start, where a template turns out to be of no use: nothing of the workload has run by then. */
  async #boot(request: StartMachine, name: string, until: number): Promise<Machine> {
    const { host, log } = this.#options;
    const { memory } = request;
    try {
      return await bootMachine(host, request, name, until);
    } catch (error) {
      if (memory.kind !== 'clone' || (error instanceof SkerryError && NOT_THE_TEMPLATE.has(error.code))) throw error;
      log(`a machine of ${name} did not go on from its template: it is booted`, error);
      await host.templates.delete(memory.template);
      return bootMachine(host, { ...request, id: `${request.id}-boot`, memory: { kind: 'own' } }, name, until);
    }
  }

  /** What tells a machine from all others, then its root, then its process; which runs already in one of `app`. */
  async #begin(machine: Machine, revision: Revision, memoryBytes: number, streams?: ProcessStreams): Promise<Running> {
    const { hosted, agent } = machine;
    try {
      const { image, layers, user } = await this.#images.of(revision);
      this.#layersOf.set(hosted, layers);
      void hosted.exited.then(() => this.#layersOf.delete(hosted));
      const command = commandOf(revision, image);
      const context = {
        env: environmentOf(revision, image, this.#options.secrets),
        directory: image.config.workingDir,
        user,
        capabilities: CAPABILITIES,
        noNewPrivileges: false,
      };
      if (revision.allow.length > 0) this.#openOutbound(hosted, revision, await hosted.outbound());
      const hostname = slug(revision.workload) || 'machine';
      const machineId = randomBytes(16).toString('hex');
      await agent.restored({ entropy: randomBytes(ENTROPY_BYTES), hostname, machineId });
      let last = '';
      const hear = (data: Buffer) => {
        last = (last + data.toString('utf8')).slice(-LAST_WORDS);
      };
      const stdio = this.#streamsOf(revision, hear, streams);
      const runs = agent.hello.state === 'running';
      if (!runs) await agent.configure(configurationOf(revision, hostname));
      const process = runs
        ? await agent.attach(stdio, () => {})
        : await agent.start({ ...context, command }, stdio).catch((error: unknown) => {
            throw startFailure(error, command[0] as string);
          });
      const lastWords = () => endInOneLine(last, LAST_WORDS);
      return { machine, process, context, image, memoryBytes, lastWords };
    } catch (error) {
      await discard(machine);
      // A layer may have gone since.
      this.#images.forget(revision.artifact.digest);
      throw error;
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
    const { machine, image } = running;
    const { hosted } = machine;
    const sandbox = new MachineSandbox(running);
    try {
      if (!revision.process) await this.#ready(running, sandbox, revision, began);
      await hosted.limit({ cpuMillicores: limits.cpuMillicores });
      const sockets = new InnerSockets(hosted, MACHINE_LINK.guest);
      const port = portOf(revision, image);
      const connect = () => sockets.connect(port, CONNECT_MS);
      const { workload: name } = revision;
      const upstream = revision.process
        ? null
        : await Upstream.open({ name, connections: limits.concurrency, connect });
      return new ImageInstance({
        ...{ revision, sandbox, sockets, upstream },
        liveness: revision.process ? null : this.#liveness(revision, checkTarget(sandbox, sockets), port),
        lost: sandbox.lost,
        stopSignal: image.config.stopSignal ?? 'SIGTERM',
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

  /** What it sends out goes where its allow-list says, until it ends. */
  #openOutbound(hosted: HostedMachine, { workload, id, allow: entries }: Revision, sockets: Sockets): void {
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
    { machine, image, lastWords }: Running,
    sandbox: MachineSandbox,
    { workload, id, port: given, readyCheck = 'tcp', limits: { startTimeoutMs } }: Revision,
    began: number,
  ): Promise<void> {
    const check = checkOf(readyCheck);
    const sockets = new InnerSockets(machine.hosted, MACHINE_LINK.guest);
    const target = checkTarget(sandbox, sockets);
    const port = portOf(given === undefined ? {} : { port: given }, image);
    const until = began + startTimeoutMs;
    const found = await untilReady({ check, target, port, until, ended: sandbox.exited }).finally(() =>
      sockets.close(),
    );
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

function nameOf({ workload, id }: Revision): string {
  return `${workload}/${id}`;
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
