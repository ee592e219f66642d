/** The node's end of the channel: what hostd does for it, as if it did that itself. */

import type { FileAccess } from '../../gateway/listener/certificate.ts';
import type { ListenAt } from '../../gateway/listener/listen.ts';
import type {
  BuildOptions,
  BuildStreams,
  CacheBounds,
  ImageBuilderHost,
} from '../../images/build/dockerfile/builder-host.ts';
import type { Exit } from '../../runtime/driver.ts';
import type {
  ContainerHost,
  ContainerLabels,
  ContainerOutput,
  ContainerProcess,
  ContainerUsage,
  Execution,
  FoundContainer,
  HostedContainer,
  HostLack,
  HostLayers,
  HostVolume,
  HostVolumes,
  ImageAccounts,
  OutboundSockets,
  StartContainer,
  Stdio,
} from '../../runtime/drivers/container/host.ts';
import type { MachineHost } from '../../runtime/drivers/microvm/host.ts';
import type { Settings } from '../config.ts';
import { ADDRESS_SETTINGS, FILE_SETTINGS, parseAddress } from '../config-schema.ts';
import type { Privileges } from '../privileges.ts';
import type { NodeUrls } from '../run-node.ts';
import { hostErrors } from './errors.ts';
import { openRemoteMachines } from './machine-client.ts';
import { closeAll, type Message, Messages } from './messages.ts';
import { NoContainers } from './open.ts';
import { Answer, type Args, type CallName, errorFrom } from './protocol.ts';

/** Ports below are root's. */
const FIRST_FREE_PORT = 1024;

interface Reply {
  readonly value: unknown;
  readonly bytes: Buffer;
  readonly fds: readonly number[];
}

interface Waiting {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

/** What runs, and is told of. */
interface Told {
  readonly id: string;
  tellExit(exit: Exit): void;
  /** Of containers. */
  tellOutput?(piece: ContainerOutput): void;
}

/** Calls to hostd and their answers; events go to the containers and machines that they are about. */
export class Calls {
  readonly #messages: Messages;
  readonly #waiting = new Map<number, Waiting>();
  readonly #sandboxes = new Map<string, Told>();
  /** Of those that hostd tells of before its answer, which names them, was read. */
  readonly #early = new Map<string, Exit>();
  readonly #executions = new Map<number, (status: number) => void>();
  #serial = 0;
  #ended = false;

  /** `onEnd`: hostd is gone. */
  constructor(fd: number, onEnd: (why: Error | null) => void) {
    this.#messages = new Messages(fd, {
      onMessage: (message) => this.#take(message),
      onClose: (why) => {
        this.#ended = true;
        for (const { reject } of this.#waiting.values()) reject(hostErrors.HOSTD_GONE());
        this.#waiting.clear();
        onEnd(why);
      },
    });
  }

  async call<K extends CallName>(call: K, args: Args<K>, fds: readonly number[] = []): Promise<Reply> {
    if (this.#ended) throw hostErrors.HOSTD_GONE();
    const serial = ++this.#serial;
    const answered = new Promise<Reply>((resolve, reject) => this.#waiting.set(serial, { resolve, reject }));
    try {
      await this.#messages.send({ call, serial, args }, undefined, fds);
    } catch (error) {
      // What onClose has rejected already is not to be told as caught by nobody.
      answered.catch(() => {});
      this.#waiting.delete(serial);
      throw this.#ended ? hostErrors.HOSTD_GONE() : error;
    }
    return answered;
  }

  async value<K extends CallName>(call: K, args: Args<K>, fds?: readonly number[]): Promise<unknown> {
    return (await this.call(call, args, fds)).value;
  }

  async descriptor<K extends CallName>(call: K, args: Args<K>): Promise<number> {
    const { fds } = await this.call(call, args);
    return fds[0] as number;
  }

  /** Of a process that is about to be started: its number, and its exit status. */
  expectExecution(): { execution: number; exited: Promise<number> } {
    const execution = ++this.#serial;
    const exited = new Promise<number>((resolve) => this.#executions.set(execution, resolve));
    return { execution, exited };
  }

  forgetExecution(execution: number): void {
    this.#executions.delete(execution);
  }

  add(sandbox: Told): void {
    const { id } = sandbox;
    this.#sandboxes.set(id, sandbox);
    const exit = this.#early.get(id);
    if (exit) sandbox.tellExit(exit);
    this.#early.delete(id);
  }

  forget(sandbox: Told): void {
    if (this.#sandboxes.get(sandbox.id) === sandbox) this.#sandboxes.delete(sandbox.id);
  }

  #take({ document, bytes, fds }: Message): void {
    const answer = Answer.parse(document);
    if ('event' in answer) {
      closeAll(fds);
      if (answer.event === 'executed') {
        this.#executions.get(answer.execution)?.(answer.status);
        this.#executions.delete(answer.execution);
        return;
      }
      const sandbox = this.#sandboxes.get(answer.id);
      if (answer.event === 'output') sandbox?.tellOutput?.({ stream: answer.stream, data: bytes });
      else if (sandbox) sandbox.tellExit(answer.exit);
      else this.#early.set(answer.id, answer.exit);
      return;
    }
    const waiting = this.#waiting.get(answer.serial);
    this.#waiting.delete(answer.serial);
    if (!waiting) closeAll(fds);
    else if ('error' in answer) waiting.reject(errorFrom(answer.error));
    else waiting.resolve({ value: answer.value, bytes, fds });
  }

  close(): void {
    this.#messages.close();
  }
}

class RemoteContainer implements HostedContainer {
  readonly id: string;
  readonly labels: ContainerLabels;
  readonly exited: Promise<Exit>;
  readonly #calls: Calls;
  #output: (piece: ContainerOutput) => void = () => {};
  tellExit!: (exit: Exit) => void;

  constructor(calls: Calls, id: string, labels: ContainerLabels) {
    this.id = id;
    this.labels = labels;
    this.#calls = calls;
    this.exited = new Promise((resolve) => {
      this.tellExit = resolve;
    });
    calls.add(this);
  }

  follow(output: (piece: ContainerOutput) => void): void {
    this.#output = output;
    // When hostd or the container has gone there is nothing to follow.
    this.#calls.call('container.follow', { id: this.id }).catch(() => {});
  }

  tellOutput(piece: ContainerOutput): void {
    this.#output(piece);
  }

  async sockets(count: number): Promise<number[]> {
    return [...(await this.#calls.call('container.sockets', { id: this.id, count })).fds];
  }

  async outbound(): Promise<OutboundSockets> {
    const { fds } = await this.#calls.call('container.outbound', { id: this.id });
    return { streams: fds[0] as number, queries: fds[1] as number };
  }

  async signal(name: string): Promise<boolean> {
    return (await this.#calls.value('container.signal', { id: this.id, name })) === true;
  }

  async exec(process: ContainerProcess, { stdin, stdout, stderr }: Stdio): Promise<Execution> {
    const { id } = this;
    const { execution, exited } = this.#calls.expectExecution();
    const args = { id, execution, process } as Args<'container.exec'>;
    try {
      await this.#calls.call('container.exec', args, [stdin, stdout, stderr]);
    } catch (error) {
      this.#calls.forgetExecution(execution);
      throw error;
    }
    return {
      exited,
      kill: async () => {
        await this.#calls.call('container.kill', { id, execution });
      },
    };
  }

  async pause(): Promise<void> {
    await this.#calls.call('container.pause', { id: this.id });
  }

  async resume(): Promise<void> {
    await this.#calls.call('container.resume', { id: this.id });
  }

  async resize(cpuMillicores: number): Promise<void> {
    await this.#calls.call('container.resize', { id: this.id, cpuMillicores });
  }

  async usage(): Promise<ContainerUsage> {
    return (await this.#calls.value('container.usage', { id: this.id })) as ContainerUsage;
  }

  async remove(): Promise<void> {
    await this.#calls.call('container.remove', { id: this.id });
    this.#calls.forget(this);
  }
}

export class RemoteLayers implements HostLayers {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  async has(diffId: string): Promise<boolean> {
    return (await this.#calls.value('layers.has', { diffId })) === true;
  }

  async unpack(diffId: string, blob: number): Promise<void> {
    await this.#calls.call('layers.unpack', { diffId }, [blob]);
  }

  async list(): Promise<string[]> {
    return (await this.#calls.value('layers.list', {})) as string[];
  }

  async delete(diffId: string): Promise<boolean> {
    return (await this.#calls.value('layers.delete', { diffId })) === true;
  }

  async accounts(layers: readonly string[]): Promise<ImageAccounts> {
    return (await this.#calls.value('layers.accounts', { layers: [...layers] })) as ImageAccounts;
  }
}

class RemoteHost implements ContainerHost {
  readonly provider: string;
  readonly layers: HostLayers;
  readonly volumes: HostVolumes;
  readonly #calls: Calls;

  constructor(calls: Calls, provider: string) {
    this.provider = provider;
    this.layers = new RemoteLayers(calls);
    this.volumes = {
      list: async () => (await calls.value('volumes.list', {})) as HostVolume[],
      delete: async (name) => (await calls.value('volumes.delete', { name })) === true,
    };
    this.#calls = calls;
  }

  async lacks(): Promise<HostLack[]> {
    return (await this.#calls.value('containers.lacks', {})) as HostLack[];
  }

  async start(request: StartContainer): Promise<HostedContainer> {
    const { stdio, ...rest } = request;
    // Before it is known to run, so that its end is never missed.
    const container = new RemoteContainer(this.#calls, request.id, request.labels);
    try {
      const args = rest as Args<'containers.start'>;
      if (stdio) await this.#calls.call('containers.attach', args, [stdio.stdin, stdio.stdout, stdio.stderr]);
      else await this.#calls.call('containers.start', args);
      return container;
    } catch (error) {
      this.#calls.forget(container);
      throw error;
    }
  }

  async recover(): Promise<FoundContainer[]> {
    const found = (await this.#calls.value('containers.recover', {})) as {
      id: string;
      labels: ContainerLabels;
      running: boolean;
    }[];
    return found.map(({ id, labels, running }) => ({
      container: new RemoteContainer(this.#calls, id, labels),
      running,
    }));
  }

  /** hostd lets go of its containers when the node ends. */
  async close(): Promise<void> {}
}

class RemoteBuilder implements ImageBuilderHost {
  readonly provider: string;
  readonly #calls: Calls;
  #serial = 0;

  constructor(calls: Calls, provider: string) {
    this.provider = provider;
    this.#calls = calls;
  }

  async name(image: string, key: string): Promise<boolean> {
    return (await this.#calls.value('builder.name', { image, key })) === true;
  }

  async load(archive: number, key: string): Promise<void> {
    await this.#calls.call('builder.load', { key }, [archive]);
  }

  async build(options: BuildOptions, { context, stdout, stderr }: BuildStreams, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const build = ++this.#serial;
    const cancel = () => void this.#calls.call('builder.cancel', { build }).catch(() => {});
    signal.addEventListener('abort', cancel);
    try {
      const args = { build, options } as Args<'builder.build'>;
      const { fds } = await this.#calls.call('builder.build', args, [context, stdout, stderr]);
      return fds[0] as number;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  async prune(bounds: CacheBounds): Promise<number> {
    return Number(await this.#calls.value('builder.prune', { ...bounds }));
  }
}

/** What hostd does for a node. */
export class HostdClient implements Privileges {
  readonly settings: Settings;
  readonly files: FileAccess;
  readonly #calls: Calls;

  private constructor(calls: Calls, settings: Settings) {
    this.#calls = calls;
    this.settings = settings;
    this.files = {
      read: async (path) => (await calls.call('file.read', { setting: this.#fileSetting(path) })).bytes,
      state: async (path) => (await calls.value('file.state', { setting: this.#fileSetting(path) })) as string | null,
    };
  }

  /** `fd`: this end of the channel. `onEnd`: hostd is gone. */
  static async open(fd: number, onEnd: (why: Error | null) => void): Promise<HostdClient> {
    const calls = new Calls(fd, onEnd);
    return new HostdClient(calls, (await calls.value('settings', {})) as Settings);
  }

  async openImageBuilder(): Promise<ImageBuilderHost> {
    return new RemoteBuilder(this.#calls, (await this.#calls.value('builder.open', {})) as string);
  }

  async openContainers(): Promise<ContainerHost> {
    const opened = (await this.#calls.value('containers.open', {})) as
      | { provider: string }
      | { missing: string; advice: string[] };
    if ('missing' in opened) throw new NoContainers(opened.missing, opened.advice);
    return new RemoteHost(this.#calls, opened.provider);
  }

  async openMachines(): Promise<MachineHost> {
    return openRemoteMachines(this.#calls);
  }

  async bind(host: string, port: number): Promise<ListenAt> {
    if (port === 0 || port >= FIRST_FREE_PORT) return { host, port };
    const setting = ADDRESS_SETTINGS.find((each) => {
      const address = parseAddress(this.settings[each] ?? '');
      return address?.host === host && address.port === port;
    });
    if (!setting) throw hostErrors.HOSTD_CALL_INVALID('listen', `${host}:${port} is in no setting`);
    return { fd: await this.#calls.descriptor('listen', { setting }) };
  }

  async whyNoKvm(): Promise<string | null> {
    return (await this.#calls.value('kvm', {})) as string | null;
  }

  async ready(urls: NodeUrls): Promise<void> {
    await this.#calls.call('ready', { ...urls });
  }

  #fileSetting(path: string): string {
    const setting = FILE_SETTINGS.find((each) => this.settings[each] === path);
    if (!setting) throw hostErrors.HOSTD_CALL_INVALID('file', `${path} is in no setting`);
    return setting;
  }
}
