/** The driver of containers: an OCI image as a group of processes of its own, behind its loopback. */
import { randomBytes } from 'node:crypto';
import type { Writable } from 'node:stream';
import type { ContentStore } from '../../../images/store/index.ts';
import type { Driver, Instance, Probe, ProcessStreams, Progress } from '../../driver.ts';
import { AllowList } from '../../egress/allow-list.ts';
import { Connector } from '../../egress/connector.ts';
import type { Resolve } from '../../egress/resolver.ts';
import type { Trust } from '../../egress/trust.ts';
import { endInOneLine } from '../../health/one-line.ts';
import { untilReady } from '../../health/readiness.ts';
import type { CheckTarget } from '../../health/run-check.ts';
import type { WorkloadLogs } from '../../logs/workload-logs.ts';
import { InnerSockets } from '../../network/inner-sockets.ts';
import { insideOf, type Neighbours } from '../../network/neighbours.ts';
import { OutboundNetwork } from '../../network/outbound.ts';
import { MOST_OUTBOUND_ADDRESSES, outboundAddresses } from '../../network/outbound-addresses.ts';
import { Upstream } from '../../proxy/upstream.ts';
import type { SecretStore } from '../../secrets/secret-store.ts';
import type { Limits, Revision } from '../../workload/revision.ts';
import { checkTarget } from '../image/check-target.ts';
import { imageErrors } from '../image/errors.ts';
import { CONNECT_MS, ImageInstance, type ImageInstanceOptions, type Sandbox } from '../image/instance.ts';
import { loggedOutput } from '../image/logged-output.ts';
import { type PreparedImage, PreparedImages } from '../image/prepared.ts';
import { checkOf, commandOf, environmentOf, portOf, slug } from '../image/process.ts';
import { containerErrors, PROGRAM_MISSING } from './errors.ts';
import { executeIn } from './execution.ts';
import type { ContainerHost, ContainerProcess, HostedContainer, StartContainer } from './host.ts';
import { ProcessPipes } from './stdio.ts';

export interface ContainerDriverOptions {
  readonly host: ContainerHost;
  readonly blobs: ContentStore;
  readonly logs: WorkloadLogs;
  readonly secrets: Pick<SecretStore, 'valuesFor'>;
  readonly egress: { readonly resolve: Resolve; readonly trust: Trust };
  readonly neighbours: Neighbours;
}

/** Processes and threads of one container. */
const PIDS = 512;
/** What the mount points of a read-only root take, in bytes. */
const LEAST_WRITABLE = 64 * 1024;
/** The exit status of a container that has ended is read within this, or is not there; in milliseconds. */
const EXIT_MS = 1000;
/** How long after the start of a node what an earlier run left is kept for its revision, in milliseconds. */
const TAKE_OVER_MS = 60_000;
/** Of what it said last, in a message; in characters. */
const LAST_WORDS = 300;

/** A container whose output goes to the log. */
interface Followed {
  readonly container: HostedContainer;
  /** False: it had ended when it was found. */
  readonly running: boolean;
  /** Settles when what its process wrote has arrived, where that does not go to the log by itself. */
  readonly pipes?: Promise<void>;
  /** What it said last, in one line. */
  lastWords(): string;
}

export class ContainerDriver implements Driver {
  readonly isolation = 'container';
  readonly replicated = true;
  readonly #options: ContainerDriverOptions;
  /** Diff ids of the layers under each container that there is. */
  readonly #layersOf = new Map<HostedContainer, readonly string[]>();
  readonly #images: PreparedImages;
  /** What the allow-lists of containers let out. */
  readonly #networks = new Set<OutboundNetwork>();
  /** Of an earlier run of the node, until somebody takes them over. */
  readonly #left: Followed[] = [];

  constructor(options: ContainerDriverOptions) {
    this.#options = options;
    this.#images = new PreparedImages(options.blobs, options.host.layers);
  }

  async probe(): Promise<Probe> {
    const { host } = this.#options;
    const lacks = await host.lacks();
    const without = lacks.map(({ what, why }) => `; without ${what}: ${why}`).join('');
    return {
      isolation: 'container',
      available: true,
      provider: host.provider,
      quality: `namespaces, control groups, a filter on system calls, root inside is nobody outside${without}`,
      advice: lacks.map(({ advice }) => advice),
    };
  }

  async check(revision: Revision, label: string, progress: Progress): Promise<void> {
    const image = await this.#images.read(revision, label);
    if (commandOf(revision, image).length === 0) throw imageErrors.IMAGE_NO_COMMAND(label);
    addressesOf(revision, label);
    progress('unpacking the image');
    await this.#images.unpack(image, label);
  }

  async prepare(revision: Revision): Promise<void> {
    await this.#images.of(revision);
  }

  /** Layers are shared: those that no image has any more are swept with the images. */
  async release({ artifact }: Revision): Promise<void> {
    this.#images.forget(artifact.digest);
  }

  async start(revision: Revision, limits: Limits, streams?: ProcessStreams): Promise<Instance> {
    const found = this.#takeOver(revision);
    if (found && !found.running) await found.container.remove();
    else if (found) {
      try {
        await found.container.resume();
        return await this.#serve(found, revision, limits, performance.now());
      } catch {
        // It does not serve any more, and is gone: one is started as if it had not been there.
      }
    }
    const began = performance.now();
    return this.#serve(await this.#launch(revision, limits, streams), revision, limits, began);
  }

  async adopt(revision: Revision): Promise<Instance | null> {
    const found = this.#takeOver(revision);
    if (!found) return null;
    if (found.running) await found.container.resume();
    // Of one whose end was not written down there is nothing to wait for.
    else await Promise.race([found.container.exited, later(EXIT_MS)]);
    const instance = await this.#serve(found, revision, revision.limits, performance.now());
    if (!found.running) await found.container.remove();
    return instance;
  }

  async recover(wanted: (workload: string, revisionId: string) => boolean): Promise<void> {
    const removed: Promise<void>[] = [];
    for (const { container, running } of await this.#options.host.recover()) {
      const { workload, revision } = container.labels;
      const followed = this.#follow(container, running);
      if (wanted(workload, revision)) this.#left.push(followed);
      else removed.push(container.remove());
    }
    await Promise.all(removed);
    // One that nobody took over by then is one too many.
    setTimeout(() => void this.#removeLeft(), TAKE_OVER_MS).unref();
  }

  /** One that an earlier run of the node left of this revision. */
  #takeOver({ workload, id }: Revision): Followed | undefined {
    const at = this.#left.findIndex(
      ({ container: { labels } }) => labels.workload === workload && labels.revision === id,
    );
    return at < 0 ? undefined : this.#left.splice(at, 1)[0];
  }

  async #removeLeft(): Promise<void> {
    await Promise.all(this.#left.splice(0).map(({ container }) => container.remove()));
  }

  /** Its output goes to the log of its workload. */
  #follow(container: HostedContainer, running = true): Followed {
    const { workload, revision } = container.labels;
    const log = this.#options.logs.of(workload);
    let last = '';
    container.follow(({ stream, data }) => {
      log.piece(revision, '', stream, data);
      last = (last + Buffer.from(data).toString('utf8')).slice(-LAST_WORDS);
    });
    return { container, running, lastWords: () => endInOneLine(last, LAST_WORDS) };
  }

  /** A new container, whose process runs. */
  async #launch(revision: Revision, limits: Limits, streams?: ProcessStreams): Promise<Followed> {
    const { workload, id: revisionId } = revision;
    const { image, layers, user } = await this.#images.of(revision);
    const request: StartContainer = {
      id: `${slug(workload)}-${revisionId}-${randomBytes(4).toString('hex')}`,
      labels: { workload, revision: revisionId },
      layers,
      writableBytes: revision.writableBytes ?? LEAST_WRITABLE,
      outbound: revision.allow.length === 0 ? null : addressesOf(revision, workload),
      volumes: revision.volumes ?? [],
      spec: {
        ...this.#context(revision, { image, user }),
        hostname: slug(workload),
        command: commandOf(revision, image),
        memoryBytes: limits.memoryBytes,
        cpuMillicores: limits.cpuMillicores,
        cpuWeight: 20 * (1 + revision.priority),
        pids: PIDS,
        scratch: [],
        writableRoot: revision.writableBytes !== undefined,
      },
    };
    try {
      if (!streams) return this.#follow(await this.#options.host.start(request));
      return await this.#attach(request, streams);
    } catch (error) {
      // A layer may have gone since.
      this.#images.forget(revision.artifact.digest);
      throw error;
    }
  }

  /** Its process reads and writes these; what it writes is in the log too. */
  async #attach(request: StartContainer, { stdin, stdout, stderr }: ProcessStreams): Promise<Followed> {
    const { workload, revision } = request.labels;
    const pipes = await ProcessPipes.open();
    let container: HostedContainer;
    try {
      container = await this.#options.host.start({ ...request, stdio: pipes.inside });
    } catch (error) {
      // What runs it had no other place to say why.
      const said = (await pipes.discard()).trim().replaceAll(/\s+/g, ' ');
      if (PROGRAM_MISSING.test(said)) throw imageErrors.COMMAND_MISSING(request.spec.command[0] as string);
      throw said === '' ? error : containerErrors.PROCESS_NOT_STARTED(workload, said);
    }
    await pipes.given();
    container.follow(() => {});
    const { logs } = this.#options;
    const both = (stream: 'stdout' | 'stderr', to: Writable) =>
      loggedOutput(logs, { workload, id: revision }, stream, { to });
    const streams = { stdin, stdout: both('stdout', stdout), stderr: both('stderr', stderr) };
    return { container, running: true, pipes: pipes.connect(streams, container.exited), lastWords: () => '' };
  }

  /** An instance of a container that runs, once it is ready; else it is removed. */
  async #serve(followed: Followed, revision: Revision, limits: Limits, began: number): Promise<Instance> {
    const { container, pipes } = followed;
    const { workload } = revision;
    try {
      const { image, layers, user } = await this.#images.of(revision);
      this.#layersOf.set(container, layers);
      void container.exited.then(() => this.#layersOf.delete(container));
      await this.#openOutbound(container, revision);
      const context = this.#context(revision, { image, user });
      const sockets = new InnerSockets(container);
      const sandbox = sandboxOf(container, context);
      const stopSignal = image.config.stopSignal ?? 'SIGTERM';
      const instance = (upstream: Upstream | null, liveness: ImageInstanceOptions['liveness'] = null) => {
        const startMs = performance.now() - began;
        const own = { revision, sandbox, sockets, pipes, stopSignal, startMs };
        return new ImageInstance({ ...own, upstream, liveness });
      };
      if (revision.process) return instance(null);
      const port = portOf(revision, image);
      const target = checkTarget(sandbox, sockets);
      await this.#ready(followed, revision, target, port, began);
      const connect = () => sockets.connect(port, CONNECT_MS);
      const upstream = await Upstream.open({ name: workload, connections: limits.concurrency, connect });
      return instance(upstream, this.#liveness(revision, target, port));
    } catch (error) {
      await container.remove();
      throw error;
    }
  }

  /** How an instance is asked whether it is still well; null: it is not. */
  #liveness({ workload, id, liveCheck }: Revision, target: CheckTarget, port: number) {
    if (!liveCheck) return null;
    const log = (text: string) => this.#options.logs.of(workload).write(id, '', 'node', text);
    return { check: checkOf(liveCheck.check), everyMs: liveCheck.everyMs, target, port, log };
  }

  /** What it sends out goes where its allow-list says, until it ends. */
  async #openOutbound(container: HostedContainer, { workload, id, allow: entries }: Revision): Promise<void> {
    if (entries.length === 0) return;
    const { egress, neighbours, logs } = this.#options;
    const sockets = await container.outbound();
    const allow = new AllowList(entries);
    const connector = new Connector({ allow, ...egress, inside: insideOf(neighbours, workload) });
    const log = logs.of(workload);
    const tell = (message: string) => log.piece(id, '', 'stderr', Buffer.from(`skerry: ${message}\n`));
    const network = new OutboundNetwork(sockets, { workload, allow, connector, neighbours, tell });
    this.#networks.add(network);
    void container.exited.then(() => {
      this.#networks.delete(network);
      return network.close();
    });
  }

  /** What each process in its containers gets, beside its command. */
  #context(
    revision: Revision,
    { image, user }: Pick<PreparedImage, 'image' | 'user'>,
  ): Omit<ContainerProcess, 'command'> {
    return { env: environmentOf(revision, image, this.#options.secrets), directory: image.config.workingDir, user };
  }

  /** Diff ids of the layers that containers stand on. */
  layersInUse(): Set<string> {
    return new Set([...this.#layersOf.values()].flat());
  }

  keptBytes(): number {
    return 0;
  }

  async close(): Promise<void> {
    await this.#removeLeft();
    await Promise.all([...this.#networks].map((network) => network.close()));
    await this.#options.host.close();
  }

  /** Resolves when it is ready. Throws CONTAINER_ENDED, CONTAINER_NOT_LISTENING, CONTAINER_NOT_READY. */
  async #ready(
    { container, lastWords }: Followed,
    { workload, id, readyCheck = 'tcp', limits: { startTimeoutMs } }: Revision,
    target: CheckTarget,
    port: number,
    began: number,
  ): Promise<void> {
    const check = checkOf(readyCheck);
    const until = began + startTimeoutMs;
    const found = await untilReady({ check, target, port, until, ended: container.exited });
    if (found.state === 'ready') return;
    if (found.state === 'ended') {
      throw containerErrors.CONTAINER_ENDED(workload, (await container.exited).message, lastWords());
    }
    const error =
      readyCheck === 'tcp'
        ? containerErrors.CONTAINER_NOT_LISTENING(workload, port, startTimeoutMs)
        : containerErrors.CONTAINER_NOT_READY(workload, readyCheck, startTimeoutMs, found.why);
    this.#options.logs.of(workload).write(id, '', 'node', `it is ended: ${error.what}`);
    throw error;
  }
}

/** Throws TOO_MANY_ADDRESSES. */
function addressesOf({ allow }: Revision, name: string): string[] {
  const addresses = outboundAddresses(new AllowList(allow));
  if (addresses.length <= MOST_OUTBOUND_ADDRESSES) return addresses;
  throw containerErrors.TOO_MANY_ADDRESSES(name, MOST_OUTBOUND_ADDRESSES);
}

/** `context`: what a further process gets, beside its command. */
function sandboxOf(container: HostedContainer, context: Omit<ContainerProcess, 'command'>): Sandbox {
  return {
    id: container.id,
    exited: container.exited,
    exec: (command, streams, signal) => executeIn(container, { ...context, command }, streams, signal),
    signal: (name) => container.signal(name),
    pause: () => container.pause(),
    resume: () => container.resume(),
    // Its share of the CPU; its memory stays as it was started with.
    resize: ({ cpuMillicores }) => container.resize(cpuMillicores),
    usage: () => container.usage(),
    remove: () => container.remove(),
  };
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
