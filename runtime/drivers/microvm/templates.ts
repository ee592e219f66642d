/**
 * Templates of machines: booted once for each kernel, memory size and agent, up to where the agent waits for its first
 * workload, and stopped. A machine that goes on from one boots in a fraction of the time.
 */
import { createHash, randomBytes } from 'node:crypto';
import { machineErrors } from './errors.ts';
import type { MachineHost, StartMachine } from './host.ts';
import { bootMachine, kernelArguments, type Machine } from './machine.ts';

/** Of what is in a template and how it is used: another one makes other templates. */
const FORM = 1;
/** To boot one takes a second or two, and minutes on a machine that is very busy; in milliseconds. */
const BOOT_MS = 120_000;
/** A template that could not be made is tried again after this, in milliseconds. */
const AGAIN_MS = 60_000;

/** What a template is made for, and what it is the same for. */
export type TemplateParts = Pick<StartMachine, 'kernel' | 'initramfs' | 'memoryBytes' | 'cpus'>;

export class Templates {
  readonly #host: MachineHost;
  readonly #log: (message: string, error?: unknown) => void;
  readonly #making = new Map<string, Promise<string | null>>();
  /** When making it failed last, on the clock of `performance.now()`. */
  readonly #failed = new Map<string, number>();

  constructor(host: MachineHost, log: (message: string, error?: unknown) => void) {
    this.#host = host;
    this.#log = log;
  }

  /** Its name, made when it is not there or is not whole; null when it cannot be made. */
  boot(parts: TemplateParts): Promise<string | null> {
    const { kernel, initramfs, memoryBytes, cpus } = parts;
    const key = this.key({ kernel, initramfs, memoryBytes, cpus });
    return this.make(key, async () => {
      const began = performance.now();
      const machine = await bootMachine(
        this.#host,
        templateRequest(parts, kernelArguments(this.#host)),
        'a template',
        began + BOOT_MS,
      );
      await this.keep(machine, key);
      this.#log(`a template of a machine was made in ${Math.round(performance.now() - began)} ms`);
    });
  }

  /** The name of one that is made from this, whatever it is; and by this monitor. */
  key(parts: object): string {
    const { provider, acceleration } = this.#host;
    const whole = {
      form: FORM,
      provider,
      accelerator: acceleration.kind,
      arguments: kernelArguments(this.#host),
      ...parts,
    };
    return createHash('sha256').update(JSON.stringify(whole)).digest('hex');
  }

  /** Once for all who ask meanwhile. `work` makes it and keeps it under this name. */
  make(key: string, work: () => Promise<void>): Promise<string | null> {
    const making = this.#making.get(key) ?? this.#find(key, work).finally(() => this.#making.delete(key));
    this.#making.set(key, making);
    return making;
  }

  /** Stops a machine and keeps what it is. It has ended then. */
  async keep({ hosted, monitor, agent }: Machine, key: string): Promise<void> {
    try {
      await agent.suspend();
      await monitor.stop();
      await monitor.save();
      await hosted.keepTemplate(key);
    } finally {
      agent.close();
      monitor.close();
      await hosted.remove();
    }
  }

  /** Removes those that nobody has asked for in this run of the node. */
  async sweep(kept: ReadonlySet<string>): Promise<void> {
    for (const key of await this.#host.templates.list()) {
      if (!kept.has(key) && !this.#making.has(key)) await this.#host.templates.delete(key);
    }
  }

  async #find(key: string, work: () => Promise<void>): Promise<string | null> {
    const found = await this.#host.templates.find(key);
    if (found === 'there') return key;
    if (found !== 'missing') this.#log(`the template ${key.slice(0, 12)} of machines is made anew: ${found.spoilt}`);
    const failed = this.#failed.get(key);
    if (failed !== undefined && performance.now() - failed < AGAIN_MS) return null;
    try {
      await work();
      this.#failed.delete(key);
      return key;
    } catch (error) {
      this.#failed.set(key, performance.now());
      this.#log('a template of a machine could not be made: machines boot from the start', error);
      return null;
    }
  }
}

function templateRequest(parts: TemplateParts, words: string): StartMachine {
  return {
    ...parts,
    id: `template-${randomBytes(6).toString('hex')}`,
    labels: { workload: 'template', revision: 'template' },
    kernelArguments: words,
    layers: null,
    cpuMillicores: parts.cpus * 1000,
    cpuWeight: 50,
    // As for those that go on from it; nothing in it asks for anything.
    outbound: false,
    memory: { kind: 'template' },
  };
}

/** Throws MACHINE_TOO_SMALL, MACHINE_TOO_LARGE. @returns bytes of memory that a guest has: whole MiB */
export function guestMemory(name: string, memoryBytes: number, mostBytes: number): number {
  const MiB = 2 ** 20;
  const least = LEAST_MEMORY_MIB * MiB;
  if (memoryBytes < least) throw machineErrors.MACHINE_TOO_SMALL(name, least);
  if (memoryBytes > mostBytes) throw machineErrors.MACHINE_TOO_LARGE(name, memoryBytes, mostBytes);
  return Math.ceil(memoryBytes / MiB) * MiB;
}

/** A kernel, the agent and a small program fit into it. */
const LEAST_MEMORY_MIB = 32;
