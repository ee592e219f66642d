/** The microVM driver over this machine's own kernel and QEMU, with images made in memory. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Machines } from '../../daemon/hostd/machines.ts';
import { machinesFolder, NoMachines, openMachines } from '../../daemon/hostd/open-machines.ts';
import { GatewayNeighbours } from '../../gateway/neighbours.ts';
import { type ContentStore, openContentStore } from '../../images/store/index.ts';
import type { Instance } from '../../runtime/driver.ts';
import { MicrovmDriver } from '../../runtime/drivers/microvm/driver.ts';
import { OWN_AGENT, OWN_KERNEL } from '../../runtime/drivers/microvm/kernel.ts';
import { resolveHere } from '../../runtime/egress/resolver.ts';
import { systemTrust } from '../../runtime/egress/trust.ts';
import { WorkloadLogs } from '../../runtime/logs/workload-logs.ts';
import type { RevisionDocument } from '../../runtime/workload/documents.ts';
import { revisionOf } from '../../runtime/workload/revision-of.ts';
import type { WorkloadSettings } from '../../runtime/workload/settings.ts';
import type { Outside, RunConfig } from './container-node.ts';
import type { BuiltLayer } from './image-builder.ts';
import { importLayers } from './import-layers.ts';

/** Why machines cannot run here, or null. */
export async function whyNoMachines(): Promise<string | null> {
  const missing = [OWN_KERNEL, OWN_AGENT].find((path) => !existsSync(path));
  if (missing) return `${missing} is not built`;
  const folder = mkdtempSync(join(tmpdir(), 'skerry-probe-'));
  try {
    await (await openMachines(folder, () => {})).close();
    return null;
  } catch (error) {
    if (error instanceof NoMachines) return error.message;
    throw error;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Machines that there are of the node with this data folder. */
export function machinesOf(data: string): string[] {
  const folder = machinesFolder(data);
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** Ends what a node that was killed has left: one that was paused has not heard of it. */
export async function removeMachines(data: string): Promise<void> {
  await (await openMachines(data, () => {})).close();
  rmSync(data, { recursive: true, force: true });
}

/** Under emulation, on a machine that does other things too. */
const PATIENT: WorkloadSettings = { memory: '64MiB', 'start-timeout': '120s' };

export class MachineNode {
  readonly folder: string;
  readonly driver: MicrovmDriver;
  readonly host: Machines;
  readonly logs: WorkloadLogs;
  /** What the driver told. */
  readonly told: string[] = [];
  readonly #blobs: ContentStore;
  readonly #instances: Instance[] = [];
  #serial = 0;

  private constructor(folder: string, host: Machines, blobs: ContentStore, over: Outside) {
    this.folder = folder;
    this.host = host;
    this.#blobs = blobs;
    this.logs = new WorkloadLogs(join(folder, 'logs'), () => {});
    this.driver = new MicrovmDriver({
      ...{ host, blobs, logs: this.logs },
      secrets: { valuesFor: () => ({}) },
      egress: { resolve: resolveHere, trust: systemTrust({}), ...over.egress },
      neighbours: over.neighbours ?? new GatewayNeighbours(),
      log: (message, error) => this.told.push(error ? `${message}: ${(error as Error).message}` : message),
    });
  }

  /** `folder`: of a node that has ended. */
  static async open(
    folder = mkdtempSync(join(tmpdir(), 'skerry-machines-')),
    over: Outside = {},
  ): Promise<MachineNode> {
    const host = await openMachines(folder, () => {});
    return new MachineNode(folder, host, await openContentStore(join(folder, 'content')), over);
  }

  /** For the time of this work. */
  static async during(work: (node: MachineNode) => Promise<void>): Promise<void> {
    const node = await MachineNode.open();
    try {
      await work(node);
    } finally {
      await node.close();
    }
  }

  /** A revision of an image of these layers, the lowest first. */
  async revision(
    layers: readonly BuiltLayer[],
    config: RunConfig,
    settings: WorkloadSettings = {},
  ): Promise<RevisionDocument> {
    const name = `w${++this.#serial}`;
    const artifact = await importLayers(this.#blobs, join(this.folder, `layout-${name}`), layers, config);
    return revisionOf(name, artifact, name, { ...PATIENT, ...settings }, new Set(['vm']));
  }

  async start(revision: RevisionDocument): Promise<Instance> {
    const instance = await this.driver.start(revision, revision.limits);
    this.#instances.push(instance);
    return instance;
  }

  async log(workload: string): Promise<string> {
    const records = await this.logs.of(workload).tail(1000);
    return records.map(({ text }) => text).join('\n');
  }

  /** Folders of machines that are there. */
  left(): string[] {
    return existsSync(this.host.folder) ? readdirSync(this.host.folder) : [];
  }

  async close(): Promise<void> {
    await Promise.all(this.#instances.map((instance) => instance.stop(0)));
    await this.driver.close();
    await this.logs.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
