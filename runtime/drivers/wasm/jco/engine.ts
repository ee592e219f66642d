/** The jco engine: components transpiled to JavaScript and core modules, run in worker threads. */
import { readFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { projectRoot } from '../../../../errors/project-root.ts';
import type { ComponentFile, EngineOptions, FunctionSettings, WasmEngine, WasmFunction } from '../engine.ts';
import { wasmErrors } from '../errors.ts';
import { formatBytes } from '../format-bytes.ts';
import { TranspileCache } from './cache.ts';
import { JcoFunction } from './function.ts';
import { Pool } from './pool.ts';
import type { CodeMessage } from './protocol.ts';
import { transpileComponent } from './transpile.ts';
import type { Transpiled } from './transpiled.ts';
import { shimVersion } from './wasi/imports.ts';
import { type HeldModule, InitialMemoryError, limitMemory } from './wasm-limits.ts';

/** The version of jco in use: its output is part of what the cache holds. */
function jcoVersion(): string {
  const require = createRequire(join(projectRoot, 'package.json'));
  const folder = dirname(dirname(require.resolve('@bytecodealliance/jco')));
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
}

export async function openJcoEngine(options: EngineOptions): Promise<WasmEngine> {
  await mkdir(options.cacheDir, { recursive: true, mode: 0o700 });
  return new JcoEngine(options);
}

type Modules = CodeMessage['modules'];

/** What functions of one component and one memory limit share; goes when the last of them is closed. */
interface Loaded {
  readonly code: Promise<{ readonly glue: string; readonly modules: Modules }>;
  users: number;
}

class JcoEngine implements WasmEngine {
  readonly name = 'jco';
  readonly version: string;
  readonly #cache: TranspileCache;
  readonly #pool = new Pool();
  readonly #jco = jcoVersion();
  readonly #loaded = new Map<string, Loaded>();
  /** Components being compiled now, so that none is compiled twice at once. */
  readonly #compiling = new Map<string, Promise<Transpiled>>();
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
    await this.#cache.remove(fileOf(digest));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#functions].map((fn) => fn.close()));
    await this.#pool.close();
  }

  /** The core modules, held to the memory limit and compiled; V8 does the latter off this thread. */
  async #compileLimited(component: ComponentFile, label: string, memoryBytes: number) {
    const transpiled = await this.#transpiled(component, label);
    return { glue: transpiled.glue, modules: await compileModules(transpiled, label, memoryBytes) };
  }

  /** The component's transpiled form, from the cache or made now. */
  #transpiled(component: ComponentFile, label: string): Promise<Transpiled> {
    let made = this.#compiling.get(component.digest);
    if (!made) {
      made = this.#make(component, label).finally(() => this.#compiling.delete(component.digest));
      this.#compiling.set(component.digest, made);
    }
    return made;
  }

  async #make(component: ComponentFile, label: string): Promise<Transpiled> {
    const file = fileOf(component.digest);
    const key = `${component.digest} jco ${this.#jco} shims ${shimVersion}`;
    const cached = await this.#cache.load(file, key);
    if (cached) return cached;
    const transpiled = await transpileComponent(label, await readFile(component.path));
    await this.#cache.store(file, key, transpiled);
    return transpiled;
  }
}

async function compileModules({ modules }: Transpiled, label: string, memoryBytes: number): Promise<Modules> {
  let limited: HeldModule[];
  try {
    limited = limitMemory(modules, memoryBytes);
  } catch (error) {
    if (!(error instanceof InitialMemoryError)) throw wasmErrors.COMPONENT_INVALID(label, (error as Error).message);
    throw wasmErrors.MEMORY_BELOW_INITIAL(label, formatBytes(error.needed), formatBytes(memoryBytes));
  }
  return Promise.all(
    modules.map(async ({ name, instances }, i) => {
      const { bytes, memory } = limited[i]!;
      return { name, instances, memory, module: await WebAssembly.compile(bytes) };
    }),
  );
}

function fileOf(digest: string): string {
  return `${digest.replace(':', '-')}.jco`;
}

function nameOf({ digest }: ComponentFile): string {
  return `component ${digest.slice(0, 19)}`;
}
