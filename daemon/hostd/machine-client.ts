/** The node's side of the calls about microVMs. */
import type { Exit } from '../../runtime/driver.ts';
import type {
  Acceleration,
  HostedMachine,
  MachineChannels,
  MachineDisks,
  MachineFiles,
  MachineHost,
  MachineLabels,
  MachineTemplates,
  MachineUsage,
  StartMachine,
} from '../../runtime/drivers/microvm/host.ts';
import type { Sockets } from '../../runtime/network/outbound.ts';
import { type Calls, RemoteLayers } from './client.ts';
import { NoMachines } from './open-machines.ts';
import type { Args } from './protocol.ts';

class RemoteMachine implements HostedMachine {
  readonly id: string;
  readonly labels: MachineLabels;
  readonly exited: Promise<Exit>;
  channels!: MachineChannels;
  readonly #calls: Calls;
  tellExit!: (exit: Exit) => void;

  constructor(calls: Calls, { id, labels }: StartMachine) {
    this.id = id;
    this.labels = labels;
    this.#calls = calls;
    this.exited = new Promise((resolve) => {
      this.tellExit = resolve;
    });
    calls.add(this);
  }

  async start(request: StartMachine): Promise<void> {
    try {
      const { fds } = await this.#calls.call('machines.start', request as Args<'machines.start'>);
      const [control, agent, serial] = fds as [number, number, number];
      this.channels = { control, agent, console: serial };
    } catch (error) {
      this.#calls.forget(this);
      throw error;
    }
  }

  async sockets(count: number): Promise<number[]> {
    return [...(await this.#calls.call('machine.sockets', { id: this.id, count })).fds];
  }

  async outbound(): Promise<Sockets> {
    const { fds } = await this.#calls.call('machine.outbound', { id: this.id });
    return { streams: fds[0] as number, queries: fds[1] as number };
  }

  async pause(): Promise<void> {
    await this.#calls.call('machine.pause', { id: this.id });
  }

  async resume(): Promise<void> {
    await this.#calls.call('machine.resume', { id: this.id });
  }

  async usage(): Promise<MachineUsage> {
    return (await this.#calls.value('machine.usage', { id: this.id })) as MachineUsage;
  }

  async limit({ cpuMillicores }: { readonly cpuMillicores: number }): Promise<void> {
    await this.#calls.call('machine.limit', { id: this.id, cpuMillicores });
  }

  async keepTemplate(key: string): Promise<void> {
    await this.#calls.call('machine.keepTemplate', { id: this.id, key });
  }

  async remove(): Promise<void> {
    await this.#calls.call('machine.remove', { id: this.id });
    this.#calls.forget(this);
  }
}

class RemoteMachines implements MachineHost {
  readonly provider: string;
  readonly acceleration: Acceleration;
  readonly mostMemoryBytes: number;
  readonly files: MachineFiles;
  readonly layers: RemoteLayers;
  readonly disks: MachineDisks;
  readonly templates: MachineTemplates;
  readonly #calls: Calls;

  constructor(calls: Calls, opened: Pick<MachineHost, 'provider' | 'acceleration' | 'mostMemoryBytes'>) {
    this.#calls = calls;
    this.provider = opened.provider;
    this.acceleration = opened.acceleration;
    this.mostMemoryBytes = opened.mostMemoryBytes;
    this.layers = new RemoteLayers(calls);
    this.files = {
      has: async (digest) => (await calls.value('machines.hasFile', { digest })) === true,
      put: async (digest, file) => void (await calls.call('machines.putFile', { digest }, [file])),
      list: async () => (await calls.value('machines.listFiles', {})) as string[],
      delete: async (digest) => (await calls.value('machines.deleteFile', { digest })) === true,
    };
    this.disks = {
      make: async (layers) => (await calls.value('machines.makeDisk', { layers: [...layers] })) as { bytes: number },
      keep: async (images) => {
        await calls.call('machines.keepDisks', { images: images.map((layers) => [...layers]) });
      },
    };
    this.templates = {
      find: async (key) =>
        (await calls.value('machines.findTemplate', { key })) as Awaited<ReturnType<MachineTemplates['find']>>,
      list: async () => (await calls.value('machines.listTemplates', {})) as string[],
      delete: async (key) => (await calls.value('machines.deleteTemplate', { key })) === true,
    };
  }

  async start(request: StartMachine): Promise<HostedMachine> {
    // Before it is known to run, so that its end is never missed.
    const machine = new RemoteMachine(this.#calls, request);
    await machine.start(request);
    return machine;
  }

  /** hostd ends its machines when the node ends. */
  async close(): Promise<void> {}
}

/** Throws NoMachines. */
export async function openRemoteMachines(calls: Calls): Promise<MachineHost> {
  const opened = (await calls.value('machines.open', {})) as
    | Pick<MachineHost, 'provider' | 'acceleration' | 'mostMemoryBytes'>
    | { missing: string; advice: string[] };
  if ('missing' in opened) throw new NoMachines(opened.missing, opened.advice);
  return new RemoteMachines(calls, opened);
}
