/** A node as users start it, with a data folder of its own. */
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { settle } from '../../cli/settle.ts';
import { projectRoot } from '../../errors/project-root.ts';
import { AdminClient } from '../../gateway/admin/client.ts';
import type { DeployRequest } from '../../gateway/admin/schemas.ts';
import { launch, type Server, type StartServer } from './process.ts';

export type EngineFlag = 'wasmtime' | 'jco';

/** Requests at once that a function may have here: more than the load ever has. */
const CONCURRENCY = 256;

export class SkerryNode {
  readonly #engine: EngineFlag;
  /** Its data folder. */
  readonly data: string;
  readonly #flags: readonly string[];
  #running: { readonly pid: number; readonly url: string; readonly registry: string; stop(): Promise<void> } | null =
    null;

  private constructor(engine: EngineFlag, data: string, flags: readonly string[]) {
    this.#engine = engine;
    this.data = data;
    this.#flags = flags;
  }

  /** `flags`: more of them for `skerry up`. */
  static async start(engine: EngineFlag, flags: readonly string[] = []): Promise<SkerryNode> {
    const node = new SkerryNode(engine, await mkdtemp(join(tmpdir(), 'skerry-bench-')), flags);
    await node.up();
    return node;
  }

  get pid(): number {
    return this.#up.pid;
  }

  /** Base URL of its registry. */
  get registry(): string {
    return this.#up.registry;
  }

  get client(): AdminClient {
    return new AdminClient({ socket: join(this.data, 'skerry.sock') });
  }

  get #up() {
    if (!this.#running) throw new Error('the node does not run');
    return this.#running;
  }

  /** Starts it over the data folder that it had; resolves when it says that it is ready. */
  async up(): Promise<void> {
    const flags = [
      '--data',
      this.data,
      '--listen',
      '127.0.0.1:0',
      '--registry',
      '127.0.0.1:0',
      '--engine',
      this.#engine,
      '--log-level',
      'warn',
      ...this.#flags,
    ];
    const { child, stop } = launch(process.execPath, [join(projectRoot, 'bin', 'skerry.js'), 'up', ...flags]);
    const ready = await new Promise<{ gateway: string; registry: string }>((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', (code) => reject(new Error(`the node ended with ${code}; BENCH_DEBUG=1 shows why`)));
    });
    this.#running = { pid: child.pid as number, url: ready.gateway, registry: ready.registry, stop };
  }

  async down(): Promise<void> {
    await this.#running?.stop();
    this.#running = null;
  }

  async discard(): Promise<void> {
    await this.down();
    await rm(this.data, { recursive: true, force: true });
  }

  async upload(component: string): Promise<DeployRequest['artifact']> {
    const mediaType = 'application/wasm';
    const { size } = await stat(component);
    const { digest } = await this.client.upload({ mediaType, label: 'bench', size, body: createReadStream(component) });
    return { digest, mediaType };
  }

  /** Deploys and waits until it serves. */
  async deploy(
    name: string,
    artifact: DeployRequest['artifact'],
    settings: DeployRequest['settings'] = {},
  ): Promise<void> {
    const { client } = this;
    const request = { artifact, label: 'bench', settings: { concurrency: CONCURRENCY, ...settings } };
    await settle(client, await client.deploy(name, request));
  }

  url(name: string, path: string): string {
    return `${this.#up.url}/${name}${path}`;
  }
}

/** A node with one function, seen as a server. */
export function skerry(
  name: string,
  engine: EngineFlag,
  component: string,
  path: string,
  settings: DeployRequest['settings'] = {},
): StartServer {
  return async (): Promise<Server> => {
    const node = await SkerryNode.start(engine);
    try {
      await node.deploy('bench', await node.upload(component), settings);
    } catch (error) {
      await node.discard();
      throw error;
    }
    return { name, url: node.url('bench', path), pid: node.pid, stop: () => node.discard() };
  };
}
