/** The driver of containers: an OCI image as a group of processes of its own, behind its loopback. */

import type { LayerStore } from '../../../images/layers/index.ts';
import { isManifestType, readStoredImage, type StoredImage } from '../../../images/oci/index.ts';
import type { ContentStore } from '../../../images/store/index.ts';
import type { Driver, Exit, Instance, Probe, Progress } from '../../driver.ts';
import type { WorkloadLogs } from '../../logs/workload-logs.ts';
import { Upstream } from '../../proxy/upstream.ts';
import type { SecretStore } from '../../secrets/secret-store.ts';
import type { Limits, Revision } from '../../workload/revision.ts';
import { containerErrors } from './errors.ts';
import type { ContainerHost, ContainerLabels, ContainerOutput, HostedContainer } from './host.ts';
import { imageUser } from './image-user.ts';
import { CONNECT_MS, ContainerInstance } from './instance.ts';

export interface ContainerDriverOptions {
  readonly host: ContainerHost;
  readonly blobs: ContentStore;
  readonly layers: LayerStore;
  readonly logs: WorkloadLogs;
  readonly secrets: Pick<SecretStore, 'valuesFor'>;
  /** What runs containers here, as `skerry doctor` tells it. */
  readonly provider: string;
}

const DEFAULT_PORT = 8080;
/** Processes and threads of one container. */
const PIDS = 512;
/** What the mount points of a read-only root take, in bytes. */
const LEAST_WRITABLE = 64 * 1024;
/** Between two looks whether it listens, doubled each time up to the most; in milliseconds. */
const READY = { first: 2, most: 50 };
/** Of what it said last, in a message; in characters. */
const LAST_WORDS = 300;

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export class ContainerDriver implements Driver {
  readonly isolation = 'container';
  readonly replicated = true;
  readonly #options: ContainerDriverOptions;
  /** Diff ids of the layers under each container that there is. */
  readonly #layersOf = new Map<HostedContainer, readonly string[]>();
  #serial = 0;

  constructor(options: ContainerDriverOptions) {
    this.#options = options;
  }

  async probe(): Promise<Probe> {
    return {
      isolation: 'container',
      available: true,
      provider: this.#options.provider,
      quality: 'namespaces, control groups, a filter on system calls, root inside is nobody outside',
      advice: [],
    };
  }

  async check(revision: Revision, label: string, progress: Progress): Promise<void> {
    const image = await this.#image(revision, label);
    if (image.config.argv.length === 0) throw containerErrors.IMAGE_NO_COMMAND(label);
    progress('unpacking the image');
    const layers = await this.#unpacked(image);
    await imageUser(label, image.config.user, layers);
  }

  async prepare(revision: Revision): Promise<void> {
    await this.#unpacked(await this.#image(revision, revision.workload));
  }

  /** Layers are shared: those that no image has any more are swept with the images. */
  async release(): Promise<void> {}

  async start(revision: Revision, limits: Limits): Promise<Instance> {
    const began = performance.now();
    const { workload, id: revisionId } = revision;
    const image = await this.#image(revision, workload);
    const layers = await this.#unpacked(image);
    const log = this.#options.logs.of(workload);
    let last = '';
    const output = ({ stream, data }: ContainerOutput) => {
      log.piece(revisionId, '', stream, data);
      last = (last + Buffer.from(data).toString('utf8')).slice(-LAST_WORDS);
    };
    const container = await this.#options.host.start(
      {
        id: `${workload}-${revisionId}-${process.pid.toString(36)}-${(++this.#serial).toString(36)}`,
        labels: { workload, revision: revisionId },
        layers,
        writableBytes: revision.writableBytes ?? LEAST_WRITABLE,
        spec: {
          hostname: workload,
          command: image.config.argv,
          env: this.#environment(revision, image),
          directory: image.config.workingDir,
          user: await imageUser(workload, image.config.user, layers),
          memoryBytes: limits.memoryBytes,
          cpuMillicores: limits.cpuMillicores,
          cpuWeight: 20 * (1 + revision.priority),
          pids: PIDS,
          scratch: [],
          binds: [],
          writableRoot: revision.writableBytes !== undefined,
        },
      },
      output,
    );
    this.#layersOf.set(
      container,
      image.layers.map(({ diffId }) => diffId),
    );
    void container.exited.then(() => this.#layersOf.delete(container));
    try {
      const port = portOf(revision, image);
      await this.#listening(container, workload, port, limits.startTimeoutMs, () => last);
      const upstream = await Upstream.open({
        name: workload,
        connections: limits.concurrency,
        connect: () => container.connect(port, CONNECT_MS),
      });
      const { stopSignal } = image.config;
      const startMs = performance.now() - began;
      return new ContainerInstance({ revision, container, upstream, stopSignal: stopSignal ?? 'SIGTERM', startMs });
    } catch (error) {
      await container.remove();
      throw error;
    }
  }

  /** What an earlier run of the node left is removed: its revisions are started anew. */
  async recover(): Promise<Instance[]> {
    const found = await this.#options.host.recover((labels: ContainerLabels, { stream, data }) =>
      this.#options.logs.of(labels.workload).piece(labels.revision, '', stream, data),
    );
    await Promise.all(found.map((container) => container.remove()));
    return [];
  }

  /** Diff ids of the layers that containers stand on. */
  layersInUse(): Set<string> {
    return new Set([...this.#layersOf.values()].flat());
  }

  keptBytes(): number {
    return 0;
  }

  async close(): Promise<void> {
    await this.#options.host.close();
  }

  #image({ artifact }: Revision, label: string): Promise<StoredImage> {
    if (!isManifestType(artifact.mediaType)) throw new TypeError(`${artifact.mediaType} is no image`);
    return readStoredImage(this.#options.blobs, artifact.digest, label);
  }

  /** Folders of its layers, the topmost first. */
  async #unpacked({ layers }: StoredImage): Promise<string[]> {
    const folders: string[] = [];
    const { blobs, layers: store } = this.#options;
    for (const { digest, diffId } of layers) {
      // To open a blob is to read all of it.
      const layer = (await store.find(diffId)) ?? (await store.unpack((await blobs.open(digest)).path, diffId));
      folders.unshift(layer.path);
    }
    return folders;
  }

  /** The image's own, then what the revision says, then secrets. Throws SECRET_MISSING, SECRET_UNREADABLE. */
  #environment(revision: Revision, { config }: StoredImage): string[] {
    const port = String(portOf(revision, { config }));
    const own = Object.entries({ PORT: port, ...revision.env, ...this.#options.secrets.valuesFor(revision) });
    const path = config.env.some((entry) => entry.startsWith('PATH=')) ? [] : [PATH];
    const named = new Set(own.map(([name]) => name));
    const kept = config.env.filter((entry) => !named.has(entry.slice(0, entry.indexOf('='))));
    return [...path, ...kept, ...own.map(([name, value]) => `${name}=${value}`)];
  }

  /** Resolves when it takes connections. Throws CONTAINER_ENDED, CONTAINER_NOT_LISTENING. */
  async #listening(
    container: HostedContainer,
    name: string,
    port: number,
    timeoutMs: number,
    last: () => string,
  ): Promise<void> {
    let ended: Exit | null = null;
    void container.exited.then((exit) => {
      ended = exit;
    });
    const until = performance.now() + timeoutMs;
    for (let wait = READY.first; ; wait = Math.min(READY.most, wait * 2)) {
      try {
        (await container.connect(port, Math.max(1, Math.min(CONNECT_MS, until - performance.now())))).destroy();
        return;
      } catch {
        // Not yet.
      }
      if (ended !== null)
        throw containerErrors.CONTAINER_ENDED(name, (ended as Exit).message, last().trim().replaceAll(/\s+/g, ' '));
      if (performance.now() + wait > until) throw containerErrors.CONTAINER_NOT_LISTENING(name, port, timeoutMs);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

function portOf({ port }: Pick<Revision, 'port'>, { config }: Pick<StoredImage, 'config'>): number {
  if (port !== undefined) return port;
  const exposed = config.exposedPorts.filter(({ protocol }) => protocol === 'tcp').map((each) => each.port);
  return exposed.length > 0 ? Math.min(...exposed) : DEFAULT_PORT;
}
