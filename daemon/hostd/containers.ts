/** The containers of a node: starts them, finds those that an earlier run of the node left, and their volumes. */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SkerryError } from '../../errors/skerry-error.ts';
import { PROGRAM_MISSING } from '../../runtime/drivers/container/errors.ts';
import type {
  ContainerHost,
  FoundContainer,
  HostedContainer,
  HostLack,
  HostVolumes,
  StartContainer,
} from '../../runtime/drivers/container/host.ts';
import { imageErrors } from '../../runtime/drivers/image/errors.ts';
import { Container, type ContainerOptions, State } from './container.ts';
import { hostErrors } from './errors.ts';
import { hostLacks } from './host-lacks.ts';
import type { StoredLayers } from './host-layers.ts';
import { MOST_CONTAINERS } from './ids.ts';
import { RECORDS } from './oci-runtime.ts';

export class Containers implements ContainerHost {
  readonly #options: ContainerOptions;
  readonly #containers = new Map<string, Container>();

  constructor(options: ContainerOptions) {
    this.#options = options;
  }

  get layers(): StoredLayers {
    return this.#options.layers;
  }

  readonly volumes: HostVolumes = {
    list: async () =>
      (await this.#options.volumes.list()).map((each) => ({ ...each, usedBy: this.#usersOf(each.name) })),
    delete: (name) => this.#options.volumes.delete(name, () => this.#usersOf(name)),
  };

  /** What runs them, and in which version of control groups. */
  get provider(): string {
    const { version, groups } = this.#options;
    return `${version}, cgroup ${groups.layout.mode}`;
  }

  lacks(): Promise<HostLack[]> {
    return hostLacks();
  }

  get folder(): string {
    return this.#options.folder;
  }

  async start(request: StartContainer): Promise<HostedContainer> {
    const { id, labels, spec } = request;
    const layers = await this.layers.folders(request.layers);
    if (this.#containers.has(id)) throw hostErrors.CONTAINER_EXISTS(id);
    const slot = this.#freeSlot();
    const volumes = request.volumes.map(({ name }) => name);
    const runtime = this.#options.runtime.name;
    const container = new Container(id, { slot, labels, volumes, runtime }, this.#options, () =>
      this.#containers.delete(id),
    );
    this.#containers.set(id, container);
    try {
      await container.start(request, layers);
    } catch (error) {
      await container.remove();
      if (error instanceof SkerryError) throw error;
      if (error instanceof Error && PROGRAM_MISSING.test(error.message)) {
        throw imageErrors.COMMAND_MISSING(spec.command[0] as string).because(error);
      }
      throw hostErrors.CONTAINER_NOT_STARTED(id, (error as Error).message).because(error);
    }
    return container;
  }

  async recover(): Promise<FoundContainer[]> {
    const { folder, log } = this.#options;
    const names = await readdir(folder).catch(() => []);
    const found: FoundContainer[] = [];
    for (const id of names.filter((name) => !RECORDS.includes(name) && !this.#containers.has(name))) {
      try {
        const state = State.parse(JSON.parse(await readFile(join(folder, id, 'state.json'), 'utf8')));
        const container = new Container(id, state, this.#options, () => this.#containers.delete(id));
        this.#containers.set(id, container);
        found.push({ container, running: await container.adopt() });
      } catch (error) {
        log(`the container ${id} of an earlier run is removed`, error);
        await new Container(
          id,
          { slot: 0, labels: { workload: '', revision: '' }, volumes: [], runtime: this.#options.runtime.name },
          this.#options,
          () => {},
        ).remove();
      }
    }
    return found;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#containers.values()].map((container) => container.letGo()));
    // Where none is left nothing else is.
    const { folder } = this.#options;
    const left = await readdir(folder).catch(() => []);
    if (left.every((name) => RECORDS.includes(name))) await rm(folder, { recursive: true, force: true });
  }

  #usersOf(volume: string): string[] {
    const users = [...this.#containers.values()].filter(({ volumes }) => volumes.includes(volume));
    return [...new Set(users.map(({ labels }) => labels.workload))];
  }

  #freeSlot(): number {
    const taken = new Set([...this.#containers.values()].map(({ slot }) => slot));
    for (let slot = 0; slot < MOST_CONTAINERS; slot++) if (!taken.has(slot)) return slot;
    throw hostErrors.TOO_MANY_CONTAINERS(MOST_CONTAINERS);
  }
}
