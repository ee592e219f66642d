/** The container driver over this machine's own kernel and programs, with images made in memory. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Containers } from '../../daemon/hostd/containers.ts';
import type { RuntimeName } from '../../daemon/hostd/oci-runtime.ts';
import { NoContainers, openContainers, openImageBuilder } from '../../daemon/hostd/open.ts';
import { GatewayNeighbours } from '../../gateway/neighbours.ts';
import { type ContentStore, openContentStore } from '../../images/store/index.ts';
import type { Instance } from '../../runtime/driver.ts';
import { ContainerDriver, type ContainerDriverOptions } from '../../runtime/drivers/container/driver.ts';
import { resolveHere } from '../../runtime/egress/resolver.ts';
import { systemTrust } from '../../runtime/egress/trust.ts';
import { WorkloadLogs } from '../../runtime/logs/workload-logs.ts';
import type { Neighbours } from '../../runtime/network/neighbours.ts';
import type { RevisionDocument } from '../../runtime/workload/documents.ts';
import { revisionOf } from '../../runtime/workload/revision-of.ts';
import type { WorkloadSettings } from '../../runtime/workload/settings.ts';
import type { BuiltLayer } from './image-builder.ts';
import { importLayers } from './import-layers.ts';

/** Why containers cannot run here by one of these runtimes, or null. */
export async function whyNoContainers(runtimes?: readonly RuntimeName[]): Promise<string | null> {
  try {
    await (await openContainers(mkdtempSync(join(tmpdir(), 'skerry-probe-')), () => {}, runtimes)).close();
    return null;
  } catch (error) {
    if (error instanceof NoContainers) return error.message;
    throw error;
  }
}

/** Why images cannot be built here from Dockerfiles with busybox in them, or null. */
export async function whyNoImageBuilds(): Promise<string | null> {
  const containers = await whyNoContainers();
  if (containers !== null) return containers;
  if (!existsSync('/bin/busybox')) return 'there is no /bin/busybox';
  const data = mkdtempSync(join(tmpdir(), 'skerry-probe-'));
  return openImageBuilder(data)
    .then(
      () => null,
      (error: Error) => error.message,
    )
    .finally(() => rmSync(data, { recursive: true }));
}

/** Folders of containers below a node's own in `/run/skerry`. */
function containersIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => !name.startsWith('.')) : [];
}

/** Containers that there are of the node with this data folder. */
export async function containersOf(data: string): Promise<string[]> {
  const host = await openContainers(data, () => {});
  const found = containersIn(host.folder);
  await host.close();
  return found;
}

/** Ends what a node that was killed has left. */
export async function removeContainers(data: string): Promise<void> {
  const host = await openContainers(data, () => {});
  const left = await host.recover();
  await Promise.all(left.map(({ container }) => container.remove()));
  await host.close();
}

/** What `config` of an image says of how it is run. */
export interface RunConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly StopSignal?: string;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
}

/** What there is beyond a container, when it is not this machine's own. */
export interface Outside {
  readonly egress?: Partial<ContainerDriverOptions['egress']>;
  readonly neighbours?: Neighbours;
  /** That new containers may run by. */
  readonly runtimes?: readonly RuntimeName[];
}

export class ContainerNode {
  readonly folder: string;
  readonly driver: ContainerDriver;
  readonly host: Containers;
  readonly logs: WorkloadLogs;
  readonly #blobs: ContentStore;
  readonly #instances: Instance[] = [];
  #serial = 0;

  private constructor(
    folder: string,
    host: Containers,
    driver: ContainerDriver,
    logs: WorkloadLogs,
    blobs: ContentStore,
  ) {
    this.folder = folder;
    this.host = host;
    this.driver = driver;
    this.logs = logs;
    this.#blobs = blobs;
  }

  /** `folder`: of a node that has ended. */
  static async open(
    folder = mkdtempSync(join(tmpdir(), 'skerry-containers-')),
    over: Outside = {},
  ): Promise<ContainerNode> {
    const host = await openContainers(folder, () => {}, over.runtimes);
    const blobs = await openContentStore(join(folder, 'content'));
    const logs = new WorkloadLogs(join(folder, 'logs'), () => {});
    const secrets = { valuesFor: () => ({}) };
    const egress = { resolve: resolveHere, trust: systemTrust({}), ...over.egress };
    const neighbours = over.neighbours ?? new GatewayNeighbours();
    const driver = new ContainerDriver({ host, blobs, logs, secrets, egress, neighbours });
    return new ContainerNode(folder, host, driver, logs, blobs);
  }

  /** For the time of this work. */
  static async during(work: (node: ContainerNode) => Promise<void>, over: Outside = {}): Promise<void> {
    const node = await ContainerNode.open(undefined, over);
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
    return revisionOf(name, artifact, name, settings, new Set(['container']));
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

  /** Folders of containers that are there. */
  left(): string[] {
    return containersIn(this.host.folder);
  }

  async close(): Promise<void> {
    await Promise.all(this.#instances.map((instance) => instance.stop(0)));
    await this.driver.close();
    await this.logs.close();
    rmSync(this.folder, { recursive: true, force: true });
    rmSync(this.host.folder, { recursive: true, force: true });
  }
}
