/** Firecracker as a monitor, over its API. It needs KVM: where that is not real it is of no use. */
import type { StartMachine } from '../host.ts';
import type { DiskLimits, Monitor } from '../monitor.ts';
import type { FirecrackerApi } from './api.ts';
import { type FirecrackerPlaces, firecrackerConfig } from './config.ts';

/** Files of a template. */
export interface FirecrackerTemplate {
  readonly state: string;
  readonly memory: string;
}

/** How often is looked whether it is there, in milliseconds: it tells nobody of its end. */
const LOOK_MS = 2000;
const SECOND_MS = 1000;

export class FirecrackerMonitor implements Monitor {
  readonly closed: Promise<Error | null>;
  readonly #api: FirecrackerApi;
  readonly #memoryBytes: number;
  readonly #template: FirecrackerTemplate;
  readonly #looking: NodeJS.Timeout;
  #started = false;
  #tellClosed!: (why: Error | null) => void;

  private constructor(api: FirecrackerApi, memoryBytes: number, template: FirecrackerTemplate) {
    this.#api = api;
    this.#memoryBytes = memoryBytes;
    this.#template = template;
    this.closed = new Promise((resolve) => {
      this.#tellClosed = resolve;
    });
    this.#looking = setInterval(() => void this.#look(), LOOK_MS).unref();
  }

  /** Told of its machine, unless that goes on from a template. Throws the errors of FirecrackerApi. */
  static async open(
    api: FirecrackerApi,
    machine: StartMachine,
    places: FirecrackerPlaces,
    template: FirecrackerTemplate,
  ): Promise<FirecrackerMonitor> {
    await api.describe();
    if (machine.memory.kind !== 'clone') {
      for (const [method, path, body] of firecrackerConfig(machine, places)) await api.send(method, path, body);
    }
    return new FirecrackerMonitor(api, machine.memoryBytes, template);
  }

  async stop(): Promise<void> {
    await this.#api.send('PATCH', '/vm', { state: 'Paused' });
  }

  async run(): Promise<void> {
    if (this.#started) await this.#api.send('PATCH', '/vm', { state: 'Resumed' });
    else await this.#api.send('PUT', '/actions', { action_type: 'InstanceStart' });
    this.#started = true;
  }

  /** The memory is mapped privately: what a machine writes is its own. */
  async restore(): Promise<void> {
    const { state, memory } = this.#template;
    await this.#api.send('PUT', '/snapshot/load', {
      snapshot_path: state,
      mem_backend: { backend_type: 'File', backend_path: memory },
      resume_vm: false,
    });
    this.#started = true;
  }

  async save(): Promise<void> {
    const { state, memory } = this.#template;
    await this.#api.send('PUT', '/snapshot/create', {
      snapshot_type: 'Full',
      snapshot_path: state,
      mem_file_path: memory,
    });
  }

  async setMemory(bytes: number): Promise<void> {
    const taken = Math.max(0, Math.floor((this.#memoryBytes - bytes) / 2 ** 20));
    await this.#api.send('PATCH', '/balloon', { amount_mib: taken });
  }

  async limitDisk(limits: DiskLimits | null): Promise<void> {
    // Of no size: it holds nothing up.
    const bucket = (size: number) => ({ size, refill_time: SECOND_MS });
    const { bytesPerSecond, operationsPerSecond } = limits ?? { bytesPerSecond: 0, operationsPerSecond: 0 };
    const rate = { bandwidth: bucket(bytesPerSecond), ops: bucket(operationsPerSecond) };
    await this.#api.send('PATCH', '/drives/root', { drive_id: 'root', rate_limiter: rate });
  }

  close(): void {
    clearInterval(this.#looking);
    this.#tellClosed(null);
  }

  async #look(): Promise<void> {
    try {
      await this.#api.describe();
    } catch (error) {
      clearInterval(this.#looking);
      this.#tellClosed(error as Error);
    }
  }
}
