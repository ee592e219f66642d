/** The driver of the lightest sandbox: WebAssembly components, on one of two engines. */
import { readFile } from 'node:fs/promises';
import type { ContentStore } from '../../../images/store/index.ts';
import { inspectComponent, servesOneRequest, unofferedImports } from '../../../images/wasm/component.ts';
import type { Driver, Instance, Probe, Progress } from '../../driver.ts';
import { type EgressOptions, openEgressClient } from '../../egress/client.ts';
import type { KeyValueStore } from '../../keyvalue/store.ts';
import type { WorkloadLogs } from '../../logs/workload-logs.ts';
import { insideOf, type Neighbours } from '../../network/neighbours.ts';
import type { SecretStore } from '../../secrets/secret-store.ts';
import type { Limits, Revision } from '../../workload/revision.ts';
import type { ComponentFile, FunctionSettings, WasmEngine, WasmFunction } from './engine.ts';
import { wasmErrors } from './errors.ts';
import { WasmInstance } from './instance.ts';
import { OFFERED_IMPORTS, offeredInterfaces } from './offer.ts';

export interface WasmDriverOptions {
  readonly engine: WasmEngine;
  readonly blobs: ContentStore;
  readonly logs: WorkloadLogs;
  readonly secrets: Pick<SecretStore, 'valuesFor'>;
  readonly keyvalue: Pick<KeyValueStore, 'namespace'>;
  /** How names are resolved and servers trusted, for all functions. */
  readonly egress: Omit<EgressOptions, 'allow' | 'inside'>;
  readonly neighbours: Neighbours;
  /** True while some kept revision is made from this artifact. */
  readonly inUse: (digest: string) => boolean;
}

export class WasmDriver implements Driver {
  readonly isolation = 'wasm';
  readonly replicated = false;
  readonly #options: WasmDriverOptions;
  readonly #engine: WasmEngine;

  constructor(options: WasmDriverOptions) {
    this.#options = options;
    this.#engine = options.engine;
  }

  async probe(): Promise<Probe> {
    const native = this.#engine.name === 'wasmtime';
    return {
      isolation: 'wasm',
      available: true,
      provider: this.#engine.version,
      quality: native
        ? 'native code, WASI 0.2 and 0.3, a fresh instance for each request'
        : 'JavaScript engine in worker threads, WASI 0.2 only, a fraction of the native speed',
      offers: offeredInterfaces(native),
      advice: native ? [] : ['build the native engine with `npm run build`, then start the node again'],
    };
  }

  async check(revision: Revision, name: string, progress: Progress): Promise<void> {
    const file = await this.#file(revision);
    const found = inspectComponent(await readFile(file.path), name);
    if (!found.ok) {
      if (found.problem === 'not-wasm') throw wasmErrors.NOT_WASM(name);
      if (found.problem === 'core-module') throw wasmErrors.CORE_MODULE(name);
      throw wasmErrors.COMPONENT_INVALID(name, found.why);
    }
    const missing = unofferedImports(found.info, OFFERED_IMPORTS);
    if (missing.length > 0) throw wasmErrors.IMPORT_NOT_OFFERED(name, missing.join(', '));
    if (found.info.handler === null) throw wasmErrors.NO_HTTP_HANDLER(name);
    if (found.info.handler === 'p3' && this.#engine.name === 'jco') throw wasmErrors.ENGINE_LACKS_P3(name);
    if (revision.reuse > 1 && servesOneRequest(found.info)) throw wasmErrors.REUSE_NOT_POSSIBLE(name, revision.reuse);
    progress(`compiling for ${this.#engine.version}`);
    await this.#engine.compile(file);
    // Loading tells what compiling does not: an import that does not link, memory above the limit.
    const { loaded, release } = await this.#load(file, revision);
    await loaded.close();
    await release();
  }

  async prepare(revision: Revision): Promise<void> {
    await this.#engine.compile(await this.#file(revision));
  }

  async release(revision: Revision): Promise<void> {
    const { digest } = revision.artifact;
    if (!this.#options.inUse(digest)) await this.#engine.forget(digest);
  }

  async start(revision: Revision, _limits: Limits): Promise<Instance> {
    const { loaded, release } = await this.#load(await this.#file(revision), revision);
    return new WasmInstance(revision, loaded, this.#options.logs.of(revision.workload), release);
  }

  /** Sandboxes live in the node's own process: nothing outlives it. */
  async recover(): Promise<void> {}

  async adopt(): Promise<null> {
    return null;
  }

  keptBytes(): number {
    return this.#engine.keptBytes();
  }

  async close(): Promise<void> {
    await this.#engine.close();
  }

  /** Throws BLOB_MISSING or BLOB_CORRUPT: damaged code is never run. */
  async #file(revision: Revision): Promise<ComponentFile> {
    const { digest, path } = await this.#options.blobs.open(revision.artifact.digest);
    return { digest, path };
  }

  /** `release` gives back what the function used, once it is closed. */
  async #load(file: ComponentFile, revision: Revision): Promise<{ loaded: WasmFunction; release(): Promise<void> }> {
    const settings = this.#settings(revision);
    const release = () => settings.egress.close();
    try {
      return { loaded: await this.#engine.load(file, settings), release };
    } catch (error) {
      await release();
      throw error;
    }
  }

  /** Throws SECRET_MISSING, SECRET_UNREADABLE. */
  #settings(revision: Revision): FunctionSettings {
    const { logs, secrets, keyvalue, egress, neighbours } = this.#options;
    const { workload, id, limits, priority, env, allow, reuse } = revision;
    const log = logs.of(workload);
    return {
      label: `${workload}@${id}`,
      workload,
      priority,
      limits,
      env,
      config: { ...env, ...secrets.valuesFor(revision) },
      egress: openEgressClient({ ...egress, allow, inside: insideOf(neighbours, workload) }),
      keyvalue: keyvalue.namespace(workload, revision.keyvalueQuotaBytes),
      reuse,
      output: ({ requestId, stream, data }) => log.piece(id, requestId, stream, data),
    };
  }
}
