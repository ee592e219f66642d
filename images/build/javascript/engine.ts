/**
 * The JavaScript engine with the bindings of our world spliced in: the same for every function. To make it takes
 * seconds, so it is kept in the cache folder.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { mendBindings } from './bindings.ts';
import { removeOtherEngines } from './leftovers.ts';
import { componentizeFolder, engineKey, features, worldName, worldText } from './toolchain.ts';

export interface SplicedEngine {
  /** A core module, before any source was run in it. */
  readonly wasmPath: string;
  /** A script that the engine runs first: it makes the WASI imports importable. */
  readonly initializer: string;
  /** What the engine reads from its environment while it is initialized. */
  readonly environment: Readonly<Record<string, string>>;
}

interface Splicer {
  spliceBindings(
    engine: Uint8Array,
    features: readonly string[],
    worldText: string,
    worldPath: undefined,
    worldName: string,
    debug: boolean,
  ): { wasm: Uint8Array; jsBindings: string; exports: [string, CoreExport][]; imports: [string, string, number][] };
}

interface CoreExport {
  readonly paramptr: boolean;
  readonly params: readonly string[];
  readonly retptr: boolean;
  readonly ret?: string;
  readonly retsize: number;
}

/** Takes the engine from the folder, or makes it there; a folder is complete when it has its final name. */
export async function splicedEngine(folder: string, progress: (step: string) => void): Promise<SplicedEngine> {
  const name = `engine-${engineKey.slice(0, 16)}`;
  const final = join(folder, name);
  const found = await read(final);
  if (found) return found;
  progress('preparing the JavaScript engine (once)');
  const fresh = `${final}.${randomBytes(6).toString('hex')}`;
  await mkdir(fresh, { recursive: true, mode: 0o700 });
  try {
    await splice(fresh);
    await rename(fresh, final);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    const made = await read(final);
    if (!made) throw error;
  }
  await removeOtherEngines(folder, name);
  const made = await read(final);
  if (!made) throw new Error(`the engine in ${final} cannot be read`);
  return made;
}

async function read(folder: string): Promise<SplicedEngine | null> {
  try {
    return {
      wasmPath: join(folder, 'engine.wasm'),
      initializer: await readFile(join(folder, 'initializer.js'), 'utf8'),
      environment: JSON.parse(await readFile(join(folder, 'environment.json'), 'utf8')),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function splice(folder: string): Promise<void> {
  const splicer = await loadSplicer();
  const stock = await readFile(join(componentizeFolder, 'lib', 'starlingmonkey_embedding.wasm'));
  const spliced = splicer.spliceBindings(stock, features, worldText, undefined, worldName, false);
  await writeFile(join(folder, 'engine.wasm'), spliced.wasm);
  await writeFile(join(folder, 'initializer.js'), mendBindings(spliced.jsBindings));
  await writeFile(join(folder, 'environment.json'), JSON.stringify(environmentOf(spliced)));
}

/** The protocol between componentize-js and its engine (its `src/componentize.js`, of the version pinned here). */
function environmentOf({ exports, imports }: ReturnType<Splicer['spliceBindings']>): Record<string, string> {
  const environment: Record<string, string> = {
    DEBUG: '',
    SOURCE_NAME: 'entry.js',
    FEATURE_CLOCKS: '1',
    EXPORT_CNT: String(exports.length),
    IMPORT_CNT: String(imports.length),
  };
  for (const [index, [name, signature]] of exports.entries()) {
    environment[`EXPORT${index}_NAME`] = name;
    environment[`EXPORT${index}_ARGS`] = `${signature.paramptr ? '*' : ''}${signature.params.join(',')}`;
    environment[`EXPORT${index}_RET`] = `${signature.retptr ? '*' : ''}${signature.ret ?? ''}`;
    environment[`EXPORT${index}_RETSIZE`] = String(signature.retsize);
  }
  for (const [index, [, name, parameters]] of imports.entries()) {
    environment[`IMPORT${index}_NAME`] = name;
    environment[`IMPORT${index}_ARGCNT`] = String(parameters);
  }
  return environment;
}

/**
 * The splicer by itself: componentize-js exports only the whole build, which splices anew each time and cannot be
 * cancelled. It imports `preview2-shim` without declaring that: this project's package.json does.
 */
async function loadSplicer(): Promise<Splicer> {
  const path = join(componentizeFolder, 'lib', 'spidermonkey-embedding-splicer.js');
  return (await import(pathToFileURL(path).href)).splicer;
}
