/** hostd's end of the channel: carries out what the node asks. Whatever comes is refused or done; nothing ends hostd. */
import { fstat, readlinkSync } from 'node:fs';
import { promisify } from 'node:util';
import type { FileAccess } from '../../gateway/listener/certificate.ts';
import type { ImageBuilderHost } from '../../images/build/dockerfile/builder-host.ts';
import type { Exit } from '../../runtime/driver.ts';
import type {
  ContainerHost,
  Execution,
  HostedContainer,
  HostLayers,
  Stdio,
} from '../../runtime/drivers/container/host.ts';
import type { Settings } from '../config.ts';
import { ADDRESS_SETTINGS, FILE_SETTINGS } from '../config-schema.ts';
import type { NodeUrls } from '../run-node.ts';
import { hostErrors } from './errors.ts';
import { StoredLayers } from './host-layers.ts';
import { MachineCalls } from './machine-calls.ts';
import type { MACHINE_CALLS } from './machine-protocol.ts';
import type { Machines } from './machines.ts';
import { closeAll, type Message, Messages } from './messages.ts';
import { NoContainers } from './open.ts';
import { type Args, CALLS, type CallName, describeError, MOST_CALLS, Request } from './protocol.ts';

export interface HostdOptions {
  readonly settings: Settings;
  /** Reads any path; which ones, is decided here. */
  readonly files: FileAccess;
  /** Throws NoContainers. Called once. */
  openContainers(): Promise<ContainerHost>;
  /** Throws NoMachines. Called once. `layers`: those that are open already. */
  openMachines(layers: StoredLayers | undefined): Promise<Machines>;
  /** Throws NO_IMAGE_BUILDER. Called once. */
  openBuilder(): Promise<ImageBuilderHost>;
  /** A descriptor of a socket that listens at a `HOST:PORT`. */
  listen(address: string): Promise<number>;
  whyNoKvm(): Promise<string | null>;
  onReady(urls: NodeUrls): void;
  log(message: string, error?: unknown): void;
}

/** What a call gives back: a value, bytes and descriptors, which are closed when they are sent. */
export interface Result {
  readonly value?: unknown;
  readonly bytes?: Uint8Array;
  readonly fds?: readonly number[];
}

export type Handlers = { readonly [K in CallName]: (args: Args<K>, fds: readonly number[]) => Promise<Result> };

const NOTHING: Result = {};
/** Exit status of what could not be started, as container engines use it. */
const COMMAND_FAILED = 125;
const fileStatus = promisify(fstat);

/** Pipes and nothing else: crun gives the root of a container what its streams are, a file of the host too. */
function stdioOf(call: CallName, fds: readonly number[]): Stdio {
  for (const fd of fds) {
    if (/^pipe:\[\d+\]$/.test(readlinkSync(`/proc/self/fd/${fd}`))) continue;
    throw hostErrors.HOSTD_CALL_INVALID(call, 'its streams are no pipes');
  }
  const [stdin, stdout, stderr] = fds;
  return { stdin: stdin!, stdout: stdout!, stderr: stderr! };
}

export class HostdServer {
  /** Resolves when the channel has ended: null when one of the two closed it, else what was wrong. */
  readonly closed: Promise<Error | null>;
  readonly #options: HostdOptions;
  readonly #messages: Messages;
  readonly #containers = new Map<string, HostedContainer>();
  readonly #executions = new Map<number, Execution>();
  readonly #builds = new Map<number, AbortController>();
  readonly #machines: MachineCalls;
  #builder: Promise<ImageBuilderHost> | null = null;
  #opening: Promise<ContainerHost> | null = null;
  #violation: Error | null = null;
  #calls = 0;
  #paused = false;

  /** Owns the descriptor. */
  constructor(fd: number, options: HostdOptions) {
    this.#options = options;
    this.#machines = new MachineCalls({
      open: (layers) => options.openMachines(layers),
      layers: async () => {
        const layers = (await this.#opening?.catch(() => null))?.layers;
        return layers instanceof StoredLayers ? layers : undefined;
      },
      tellExit: (id, exit) => this.#tellExit(id, exit),
    });
    this.#handlers = { ...this.#ownHandlers, ...this.#machines.handlers };
    let tell: (why: Error | null) => void = () => {};
    this.closed = new Promise((resolve) => {
      tell = resolve;
    });
    this.#messages = new Messages(fd, {
      onMessage: (message) => void this.#take(message),
      onClose: (why) => {
        if (why) options.log('the channel to the node broke', why);
        tell(why ?? this.#violation);
      },
    });
  }

  /** Lets go of all containers, which go on; ends all machines. */
  async close(): Promise<void> {
    this.#messages.close();
    // Nobody waits for them any more.
    for (const cancel of this.#builds.values()) cancel.abort();
    const host = await this.#opening?.catch(() => null);
    await host?.close();
    await this.#machines.close();
  }

  async #take({ document, fds }: Message): Promise<void> {
    this.#calls++;
    if (this.#calls >= MOST_CALLS && !this.#paused) {
      this.#paused = true;
      this.#messages.pause();
    }
    try {
      const request = Request.safeParse(document);
      if (!request.success) {
        this.#violation = new Error('the node sent what is no call');
        this.#options.log(this.#violation.message);
        this.#messages.close();
        return;
      }
      await this.#answer(request.data, fds);
    } finally {
      closeAll(fds);
      this.#calls--;
      if (this.#paused && this.#calls < MOST_CALLS) {
        this.#paused = false;
        this.#messages.resume();
      }
    }
  }

  async #answer({ call, serial, args }: Request, fds: readonly number[]): Promise<void> {
    let result: Result;
    try {
      const checked = CALLS[call].args.safeParse(args);
      if (!checked.success) throw hostErrors.HOSTD_CALL_INVALID(call, checked.error.issues[0]?.message ?? '');
      if (fds.length !== CALLS[call].fds) throw hostErrors.HOSTD_CALL_INVALID(call, `${fds.length} descriptors`);
      const handler = this.#handlers[call] as (args: unknown, fds: readonly number[]) => Promise<Result>;
      result = await handler(checked.data, fds);
    } catch (error) {
      await this.#messages.send({ serial, error: describeError(error) }).catch(() => {});
      return;
    }
    const { value = null, bytes, fds: given = [] } = result;
    try {
      await this.#messages.send({ serial, value }, bytes, given);
    } catch (error) {
      // It is gone, or the answer is too large for it.
      if (error instanceof RangeError) {
        await this.#messages.send({ serial, error: describeError(error) }).catch(() => {});
      }
    } finally {
      closeAll(given);
    }
  }

  readonly #handlers: Handlers;

  readonly #ownHandlers: Omit<Handlers, keyof typeof MACHINE_CALLS> = {
    settings: async () => ({ value: this.#options.settings }),
    ready: async (urls) => {
      this.#options.onReady(urls);
      return NOTHING;
    },
    'file.read': async ({ setting }) => ({ bytes: await this.#options.files.read(this.#path(setting)) }),
    'file.state': async ({ setting }) => ({ value: await this.#options.files.state(this.#path(setting)) }),
    listen: async ({ setting }) => {
      const address = ADDRESS_SETTINGS.find((each) => each === setting);
      const where = address && this.#options.settings[address];
      if (where === undefined) throw hostErrors.HOSTD_CALL_INVALID('listen', `${setting} is no address`);
      return { fds: [await this.#options.listen(where)] };
    },
    kvm: async () => ({ value: await this.#options.whyNoKvm() }),
    'containers.open': async () => {
      this.#opening ??= this.#options.openContainers();
      try {
        return { value: { provider: (await this.#opening).provider } };
      } catch (error) {
        if (!(error instanceof NoContainers)) throw error;
        return { value: { missing: error.message, advice: error.advice } };
      }
    },
    'containers.lacks': async () => ({ value: await (await this.#host()).lacks() }),
    'containers.start': (request) => this.#start(request),
    'containers.attach': async (request, fds) => this.#start(request, stdioOf('containers.attach', fds)),
    'containers.recover': async () => {
      const found = await (await this.#host()).recover();
      for (const { container } of found) this.#add(container);
      return { value: found.map(({ container: { id, labels }, running }) => ({ id, labels, running })) };
    },
    'container.follow': async ({ id }) => {
      this.#container(id).follow(({ stream, data }) => this.#messages.send({ event: 'output', id, stream }, data));
      return NOTHING;
    },
    'container.sockets': async ({ id, count }) => ({ fds: await this.#container(id).sockets(count) }),
    'container.outbound': async ({ id }) => {
      const { streams, queries } = await this.#container(id).outbound();
      return { fds: [streams, queries] };
    },
    'container.signal': async ({ id, name }) => ({ value: await this.#container(id).signal(name) }),
    'container.exec': async ({ id, execution, process }, fds) => {
      const stdio = stdioOf('container.exec', fds);
      const container = this.#container(id);
      if (this.#executions.has(execution)) throw hostErrors.HOSTD_CALL_INVALID('container.exec', 'its number is taken');
      const started = await container.exec(process, stdio);
      this.#executions.set(execution, started);
      const end = (status: number) => {
        this.#executions.delete(execution);
        this.#messages.send({ event: 'executed', execution, status }).catch(() => {});
      };
      started.exited.then(end, () => end(COMMAND_FAILED));
      return NOTHING;
    },
    'container.kill': async ({ execution }) => {
      await this.#executions.get(execution)?.kill();
      return NOTHING;
    },
    'container.pause': ({ id }) =>
      this.#container(id)
        .pause()
        .then(() => NOTHING),
    'container.resume': ({ id }) =>
      this.#container(id)
        .resume()
        .then(() => NOTHING),
    'container.resize': async ({ id, cpuMillicores }) => {
      await this.#container(id).resize(cpuMillicores);
      return NOTHING;
    },
    'container.usage': async ({ id }) => ({ value: await this.#container(id).usage() }),
    'container.remove': async ({ id }) => {
      // It may have been removed before.
      await this.#containers.get(id)?.remove();
      this.#containers.delete(id);
      return NOTHING;
    },
    'volumes.list': async () => ({ value: await (await this.#host()).volumes.list() }),
    'volumes.delete': async ({ name }) => ({ value: await (await this.#host()).volumes.delete(name) }),
    'builder.open': async () => {
      this.#builder ??= this.#options.openBuilder();
      return { value: (await this.#builder).provider };
    },
    'builder.name': async ({ image, key }) => ({ value: await (await this.#builderHost()).name(image, key) }),
    'builder.load': async ({ key }, [archive]) => {
      await (await this.#builderHost()).load(archive!, key);
      return NOTHING;
    },
    'builder.build': async ({ build, options }, [context, stdout, stderr]) => {
      if (this.#builds.has(build)) throw hostErrors.HOSTD_CALL_INVALID('builder.build', 'its number is taken');
      const cancel = new AbortController();
      this.#builds.set(build, cancel);
      try {
        const streams = { context: context!, stdout: stdout!, stderr: stderr! };
        return { fds: [await (await this.#builderHost()).build(options, streams, cancel.signal)] };
      } finally {
        this.#builds.delete(build);
      }
    },
    'builder.cancel': async ({ build }) => {
      this.#builds.get(build)?.abort();
      return NOTHING;
    },
    'builder.prune': async (bounds) => ({ value: await (await this.#builderHost()).prune(bounds) }),
    'layers.has': async ({ diffId }) => ({ value: await (await this.#layers()).has(diffId) }),
    'layers.unpack': async ({ diffId }, [blob]) => {
      const status = await fileStatus(blob!);
      if (!status.isFile()) throw hostErrors.HOSTD_CALL_INVALID('layers.unpack', 'the layer is no file');
      await (await this.#layers()).unpack(diffId, blob!);
      return NOTHING;
    },
    'layers.list': async () => ({ value: await (await this.#layers()).list() }),
    'layers.delete': async ({ diffId }) => ({ value: await (await this.#layers()).delete(diffId) }),
    'layers.accounts': async ({ layers }) => ({ value: await (await this.#layers()).accounts(layers) }),
  };

  /** Of containers, or of machines where there are no containers. */
  async #layers(): Promise<HostLayers> {
    const machines = await this.#machines.layers();
    return machines ?? (await this.#host()).layers;
  }

  #builderHost(): Promise<ImageBuilderHost> {
    return this.#builder ?? Promise.reject(hostErrors.HOSTD_CALL_INVALID('builder', 'it is not open'));
  }

  /** Throws NO_CONTAINERS. */
  #host(): Promise<ContainerHost> {
    return this.#opening ?? Promise.reject(hostErrors.HOSTD_CALL_INVALID('containers', 'they are not open'));
  }

  #container(id: string): HostedContainer {
    const container = this.#containers.get(id);
    if (!container) throw hostErrors.CONTAINER_GONE(id);
    return container;
  }

  async #start(request: Args<'containers.start'>, stdio?: Stdio): Promise<Result> {
    this.#add(await (await this.#host()).start({ ...request, ...(stdio && { stdio }) }));
    return NOTHING;
  }

  #add(container: HostedContainer): void {
    const { id } = container;
    this.#containers.set(id, container);
    void container.exited.then((exit) => this.#tellExit(id, exit));
  }

  #tellExit(id: string, exit: Exit): void {
    this.#messages.send({ event: 'exited', id, exit }).catch(() => {});
  }

  #path(setting: string): string {
    const name = FILE_SETTINGS.find((each) => each === setting);
    const path = name && this.#options.settings[name];
    if (path === undefined) throw hostErrors.HOSTD_CALL_INVALID('file', `${setting} names no file`);
    return path;
  }
}
