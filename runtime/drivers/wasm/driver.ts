/** The driver of the lightest sandbox: WebAssembly components, on one of two engines. */
import { readFile } from 'node:fs/promises';
import type { ContentStore } from '../../../images/store/index.ts';
import { inspectComponent, unofferedImports } from '../../../images/wasm/component.ts';
import type { Driver, Instance, Probe, Progress } from '../../driver.ts';
import type { WorkloadLogs } from '../../logs/workload-logs.ts';
import type { Limits, Revision } from '../../workload/revision.ts';
import type { ComponentFile, WasmEngine } from './engine.ts';
import { wasmErrors } from './errors.ts';
import { WasmInstance } from './instance.ts';
import { OFFERED_IMPORTS } from './offer.ts';

export interface WasmDriverOptions {
  readonly engine: WasmEngine;
  readonly blobs: ContentStore;
  readonly logs: WorkloadLogs;
  /** True while some kept revision is made from this artifact. */
  readonly inUse: (digest: string) => boolean;
}

export class WasmDriver implements Driver {
  readonly isolation = 'wasm';
  readonly #engine: WasmEngine;
  readonly #blobs: ContentStore;
  readonly #logs: WorkloadLogs;
  readonly #inUse: (digest: string) => boolean;

  constructor(options: WasmDriverOptions) {
    this.#engine = options.engine;
    this.#blobs = options.blobs;
    this.#logs = options.logs;
    this.#inUse = options.inUse;
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
    progress(`compiling for ${this.#engine.version}`);
    await this.#engine.compile(file);
    // Loading tells what compiling does not: an import that does not link, memory above the limit.
    const loaded = await this.#engine.load(file, this.#settings(revision));
    await loaded.close();
  }

  async prepare(revision: Revision): Promise<void> {
    await this.#engine.compile(await this.#file(revision));
  }

  async release(revision: Revision): Promise<void> {
    const { digest } = revision.artifact;
    if (!this.#inUse(digest)) await this.#engine.forget(digest);
  }

  async start(revision: Revision, _limits: Limits): Promise<Instance> {
    const loaded = await this.#engine.load(await this.#file(revision), this.#settings(revision));
    return new WasmInstance(revision, loaded, this.#logs.of(revision.workload));
  }

  /** Sandboxes live in the node's own process: nothing outlives it. */
  async recover(): Promise<Instance[]> {
    return [];
  }

  async close(): Promise<void> {
    await this.#engine.close();
  }

  /** Throws BLOB_MISSING or BLOB_CORRUPT: damaged code is never run. */
  async #file(revision: Revision): Promise<ComponentFile> {
    const { digest, path } = await this.#blobs.open(revision.artifact.digest);
    return { digest, path };
  }

  #settings(revision: Revision) {
    const log = this.#logs.of(revision.workload);
    return {
      label: `${revision.workload}@${revision.id}`,
      limits: revision.limits,
      env: revision.env,
      reuse: revision.reuse,
      output: (piece: { requestId: string; stream: 'stdout' | 'stderr'; data: Uint8Array }) =>
        log.piece(revision.id, piece.requestId, piece.stream, piece.data),
    };
  }
}
