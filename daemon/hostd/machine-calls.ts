/** hostd's side of the calls about microVMs. */
import { fstat } from 'node:fs';
import { promisify } from 'node:util';
import type { Exit } from '../../runtime/driver.ts';
import type { HostedMachine, MachineHost } from '../../runtime/drivers/microvm/host.ts';
import { hostErrors } from './errors.ts';
import type { StoredLayers } from './host-layers.ts';
import type { MACHINE_CALLS } from './machine-protocol.ts';
import type { Machines } from './machines.ts';
import { NoMachines } from './open-machines.ts';
import type { Handlers, Result } from './server.ts';

const fileStatus = promisify(fstat);
const NOTHING: Result = {};

export interface MachineCallsOptions {
  /** Throws NoMachines. Called once. */
  open(layers: StoredLayers | undefined): Promise<Machines>;
  /** Of containers, when those are open. */
  layers(): Promise<StoredLayers | undefined>;
  tellExit(id: string, exit: Exit): void;
}

export class MachineCalls {
  readonly #options: MachineCallsOptions;
  readonly #machines = new Map<string, HostedMachine>();
  #opening: Promise<Machines> | null = null;

  constructor(options: MachineCallsOptions) {
    this.#options = options;
  }

  /** Ends all machines. */
  async close(): Promise<void> {
    const host = await this.#opening?.catch(() => null);
    await host?.close();
  }

  /** Null where no machines are open. */
  async layers(): Promise<StoredLayers | null> {
    return (await this.#opening?.catch(() => null))?.layers ?? null;
  }

  readonly handlers: Pick<Handlers, keyof typeof MACHINE_CALLS> = {
    'machines.open': async () => {
      this.#opening ??= this.#options.layers().then((layers) => this.#options.open(layers));
      try {
        const { provider, acceleration, mostMemoryBytes } = await this.#opening;
        return { value: { provider, acceleration, mostMemoryBytes } };
      } catch (error) {
        if (!(error instanceof NoMachines)) throw error;
        return { value: { missing: error.message, advice: error.advice } };
      }
    },
    'machines.start': async (request) => {
      const machine = await (await this.#host()).start(request);
      this.#machines.set(machine.id, machine);
      void machine.exited.then((exit) => this.#options.tellExit(machine.id, exit));
      const { control, agent, console: serial } = machine.channels;
      return { fds: [control, agent, serial] };
    },
    'machine.sockets': async ({ id, count }) => ({ fds: await this.#machine(id).sockets(count) }),
    'machine.outbound': async ({ id }) => {
      const { streams, queries } = await this.#machine(id).outbound();
      return { fds: [streams, queries] };
    },
    'machine.pause': ({ id }) => this.#done(this.#machine(id).pause()),
    'machine.resume': ({ id }) => this.#done(this.#machine(id).resume()),
    'machine.usage': async ({ id }) => ({ value: await this.#machine(id).usage() }),
    'machine.limit': ({ id, ...limits }) => this.#done(this.#machine(id).limit(limits)),
    'machine.keepTemplate': ({ id, key }) => this.#done(this.#machine(id).keepTemplate(key)),
    'machine.remove': async ({ id }) => {
      // It may have been removed before.
      await this.#machines.get(id)?.remove();
      this.#machines.delete(id);
      return NOTHING;
    },
    'machines.hasFile': async ({ digest }) => ({ value: await (await this.#host()).files.has(digest) }),
    'machines.putFile': async ({ digest }, [file]) => {
      if (!(await fileStatus(file!)).isFile()) throw hostErrors.HOSTD_CALL_INVALID('machines.putFile', 'it is no file');
      return this.#done((await this.#host()).files.put(digest, file!));
    },
    'machines.listFiles': async () => ({ value: await (await this.#host()).files.list() }),
    'machines.deleteFile': async ({ digest }) => ({ value: await (await this.#host()).files.delete(digest) }),
    'machines.makeDisk': async ({ layers }) => ({ value: await (await this.#host()).disks.make(layers) }),
    'machines.keepDisks': async ({ images }) => this.#done((await this.#host()).disks.keep(images)),
    'machines.findTemplate': async ({ key }) => ({ value: await (await this.#host()).templates.find(key) }),
    'machines.listTemplates': async () => ({ value: await (await this.#host()).templates.list() }),
    'machines.deleteTemplate': async ({ key }) => ({ value: await (await this.#host()).templates.delete(key) }),
  };

  #done(work: Promise<unknown>): Promise<Result> {
    return work.then(() => NOTHING);
  }

  #host(): Promise<MachineHost> {
    return this.#opening ?? Promise.reject(hostErrors.HOSTD_CALL_INVALID('machines', 'they are not open'));
  }

  #machine(id: string): HostedMachine {
    const machine = this.#machines.get(id);
    if (!machine) throw hostErrors.MACHINE_GONE(id);
    return machine;
  }
}
