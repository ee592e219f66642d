/** QEMU as a monitor, over QMP. */
import type { Duplex } from 'node:stream';
import * as z from 'zod';
import { machineErrors } from '../errors.ts';
import type { DiskLimits, Monitor } from '../monitor.ts';
import { DISK_DEVICE, QEMU_FDS } from './command-line.ts';
import { QmpClient } from './qmp.ts';

/** A state is some tens of KiB: it is written, and read, within this, in milliseconds. */
const MIGRATE_MS = 15_000;
/** Between two looks whether it has been; in milliseconds. */
const LOOK_MS = 2;

const MigrationState = z.object({ status: z.string().optional(), 'error-desc': z.string().optional() });
const RunState = z.object({ status: z.string(), running: z.boolean() });

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export class QemuMonitor implements Monitor {
  readonly closed: Promise<Error | null>;
  readonly #qmp: QmpClient;

  private constructor(qmp: QmpClient) {
    this.#qmp = qmp;
    this.closed = qmp.closed;
  }

  /** Owns the stream. Throws the errors of QmpClient. */
  static async open(stream: Duplex): Promise<QemuMonitor> {
    return new QemuMonitor(await QmpClient.open(stream));
  }

  async stop(): Promise<void> {
    await this.#qmp.execute('stop');
  }

  async run(): Promise<void> {
    await this.#qmp.execute('cont');
  }

  async restore(): Promise<void> {
    await this.#shareMemory();
    await this.#qmp.execute('migrate-incoming', { uri: `fd:${QEMU_FDS.state}` });
    // It is read before the next command is.
    const until = performance.now() + MIGRATE_MS;
    for (;;) {
      const { status } = RunState.parse(await this.#qmp.execute('query-status'));
      if (status !== 'inmigrate') return;
      if (performance.now() > until) throw machineErrors.MONITOR_SILENT('reading a state');
      await later(LOOK_MS);
    }
  }

  async save(): Promise<void> {
    await this.#shareMemory();
    await this.#qmp.execute('migrate', { uri: 'unix:/state' });
    const until = performance.now() + MIGRATE_MS;
    for (;;) {
      const { status, 'error-desc': why } = MigrationState.parse(await this.#qmp.execute('query-migrate'));
      if (status === 'completed') return;
      if (status === 'failed' || status === 'cancelled') throw machineErrors.MONITOR_REFUSED(why ?? status);
      if (performance.now() > until) throw machineErrors.MONITOR_SILENT('writing a state');
      await later(LOOK_MS);
    }
  }

  async setMemory(bytes: number): Promise<void> {
    await this.#qmp.execute('balloon', { value: bytes });
  }

  async limitDisk(limits: DiskLimits | null): Promise<void> {
    const { bytesPerSecond, operationsPerSecond } = limits ?? { bytesPerSecond: 0, operationsPerSecond: 0 };
    const each = { bps_rd: 0, bps_wr: 0, iops_rd: 0, iops_wr: 0 };
    await this.#qmp.execute('block_set_io_throttle', {
      id: DISK_DEVICE,
      bps: bytesPerSecond,
      iops: operationsPerSecond,
      ...each,
    });
  }

  close(): void {
    this.#qmp.close();
  }

  /** Memory is not part of the state: it is in a file that the next one maps. */
  async #shareMemory(): Promise<void> {
    await this.#qmp.execute('migrate-set-capabilities', {
      capabilities: [{ capability: 'x-ignore-shared', state: true }],
    });
  }
}
