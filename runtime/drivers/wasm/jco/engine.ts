/** The jco engine: components transpiled to JavaScript and core modules, run in worker threads. */
import { readFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { projectRoot } from '../../../../errors/project-root.ts';
import { componentShape } from '../../../../images/wasm/component-shape.ts';
import type { ComponentFile, EngineOptions, FunctionSettings, WasmEngine, WasmFunction } from '../engine.ts';
import { wasmErrors } from '../errors.ts';
import { formatBytes } from '../format-bytes.ts';
import { outboundGrant } from '../outbound-grant.ts';
import { TranspileCache } from './cache.ts';
import { allowExtendedConst } from './extended-const.ts';
import { JcoFunction } from './function.ts';
import { assemble } from './loaded.ts';
import { Pool } from './pool.ts';
import type { CodeMessage } from './protocol.ts';
import { transpileComponent } from './transpile.ts';
import type { LoadedComponent, LoadedModule } from './transpiled.ts';
import { shimVersion } from './wasi/imports.ts';
import { type HeldModule, InitialMemoryError, limitMemory, TableSizeError } from './wasm-limits.ts';

/** The version of jco in use: its output is part of what the cache holds. */
function jcoVersion(): string {
  const require = createRequire(join(projectRoot, 'package.json'));
  const folder = dirname(dirname(require.resolve('@bytecodealliance/jco')));
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
}

export async function openJcoEngine(options: EngineOptions): Promise<WasmEngine> {
  allowExtendedConst();
  await mkdir(options.cacheDir, { recursive: true, mode: 0o700 });
  return new JcoEngine(options);
}

/** How long a component's transpiled form is kept after it was asked for, in milliseconds. */
const keptFor = 5000;

/** What functions of one component and one memory limit share; goes when the last of them is closed. */
interface Loaded {
  readonly code: Promise<{ readonly glue: string; readonly modules: CodeMessage['modules'] }>;
  users: number;
}

class JcoEngine implements WasmEngine {
  readonly name = 'jco';
  readonly version: string;
  readonly #cache: TranspileCache;
  readonly #pool = new Pool();
  readonly #jco = jcoVersion();
  readonly #loaded = new Map<string, Loaded>();
  /** Components transpiled now or just before, so that none is twice at once. */
  readonly #transpiling = new Map<string, Promise<LoadedComponent>>();
  readonly #functions = new Set<JcoFunction>();
  #codes = 0;

  constructor(options: EngineOptions) {
    this.version = `jco ${this.#jco}`;
    this.#cache = new TranspileCache(options.cacheDir, options.cacheKey, options.warn);
  }

  async compile(component: ComponentFile): Promise<void> {
    await this.#transpiled(component, nameOf(component));
  }

  async load(component: ComponentFile, settings: FunctionSettings): Promise<WasmFunction> {
    const { label, limits } = settings;
    const key = `${component.digest} ${limits.memoryBytes}`;
    const loaded = this.#loaded.get(key) ?? {
      code: this.#compileLimited(component, label, limits.memoryBytes),
      users: 0,
    };
    this.#loaded.set(key, loaded);
    loaded.users++;
    const release = () => {
      if (--loaded.users === 0) this.#loaded.delete(key);
    };
    try {
      const code: CodeMessage = {
        kind: 'code',
        code: ++this.#codes,
        component: component.digest,
        ...(await loaded.code),
        env: Object.entries(settings.env),
        config: Object.entries(settings.config),
        outbound: outboundGrant(settings.egress),
        memoryBytes: limits.memoryBytes,
        reuse: settings.reuse,
      };
      const made: JcoFunction = new JcoFunction(code, settings, this.#pool, () => {
        this.#functions.delete(made);
        release();
      });
      this.#functions.add(made);
      this.#pool.preload(code);
      return made;
    } catch (error) {
      release();
      throw error;
    }
  }

  async forget(digest: string): Promise<void> {
    await this.#cache.forget(digest);
  }

  keptBytes(): number {
    return this.#pool.keptBytes();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#functions].map((fn) => fn.close()));
    await this.#pool.close();
  }

  /** The core modules, held to the memory limit and compiled; V8 does the latter off this thread. */
  async #compileLimited(component: ComponentFile, label: string, memoryBytes: number) {
    const { glue, modules } = await this.#transpiled(component, label);
    return { glue, modules: await compileModules(modules, label, memoryBytes) };
  }

  /** The component's transpiled form, from the cache or made now. */
  #transpiled(component: ComponentFile, label: string): Promise<LoadedComponent> {
    let made = this.#transpiling.get(component.digest);
    if (!made) {
      made = this.#make(component, label);
      this.#transpiling.set(component.digest, made);
      const forget = () => this.#transpiling.delete(component.digest);
      // A deploy asks for it several times in a row.
      made.then(() => setTimeout(forget, keptFor).unref(), forget);
    }
    return made;
  }

  async #make(component: ComponentFile, label: string): Promise<LoadedComponent> {
    const bytes = await readFile(component.path);
    const shape = componentShape(bytes);
    const version = `jco ${this.#jco} shims ${shimVersion}`;
    const own = component.digest.replace(':', '-');
    const common = shape && `shape-${shape.digest}`;
    for (const name of common ? [common, own] : []) {
      const cached = await this.#cache.load(`${name}.jco`, `${name} ${version}`);
      if (!cached) continue;
      await this.#cache.use(component.digest, `${name}.jco`);
      return assemble(cached, shape!, label);
    }
    const transpiled = await transpileComponent(label, bytes);
    if (!shape) throw wasmErrors.COMPONENT_INVALID(label, 'its sections cannot be told apart');
    const name = transpiled.shared ? common! : own;
    await this.#cache.store(`${name}.jco`, `${name} ${version}`, transpiled);
    await this.#cache.use(component.digest, `${name}.jco`);
    return assemble(transpiled, shape, label);
  }
}

async function compileModules(
  modules: readonly LoadedModule[],
  label: string,
  memoryBytes: number,
): Promise<CodeMessage['modules']> {
  let limited: HeldModule[];
  try {
    limited = limitMemory(modules, memoryBytes);
  } catch (error) {
    if (error instanceof TableSizeError) throw wasmErrors.COMPONENT_TOO_LARGE(label, error.message);
    if (!(error instanceof InitialMemoryError)) throw wasmErrors.COMPONENT_INVALID(label, (error as Error).message);
    throw wasmErrors.MEMORY_BELOW_INITIAL(label, formatBytes(error.needed), formatBytes(memoryBytes));
  }
  return Promise.all(
    modules.map(async ({ name, instances, data }, i) => {
      const { bytes, memory } = limited[i]!;
      const [module, filler] = await Promise.all([WebAssembly.compile(bytes), data && WebAssembly.compile(data)]);
      return { name, instances, memory, module, data: filler };
    }),
  );
}

function nameOf({ digest }: ComponentFile): string {
  return `component ${digest.slice(0, 19)}`;
}
