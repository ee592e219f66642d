/** The whole way from one JavaScript module to a component; runs in the child process. */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { splicedEngine } from './engine.ts';
import { type BuildRequest, BuildStopped } from './protocol.ts';
import { type SnapshotLimits, snapshot } from './snapshot.ts';
import { componentizeVersion, engineKey } from './toolchain.ts';

/** For the first run of the engine, which compiles it to native code: 7 s of two cores, and small machines are slower. */
const compileTimeMs = 300_000;

/** A source that does nothing: to run it leaves the engine's native code in the cache. */
const nothing = 'export default { fetch() {} };';

/** Returns the path of the component, in the build's own folder. Throws BuildStopped when the source is at fault. */
export async function componentize(request: BuildRequest, progress: (step: string) => void): Promise<string> {
  const { workFolder, cacheFolder } = request;
  const limits: SnapshotLimits = {
    timeMs: cacheFolder === null ? compileTimeMs : request.timeLimitMs,
    memoryBytes: request.memoryLimitBytes,
    sizeBytes: request.sizeLimitBytes,
  };
  const source = await readFile(join(workFolder, 'function.js'), 'utf8');
  const engine = await splicedEngine(cacheFolder ?? workFolder, progress);
  const codeCache = cacheFolder === null ? '' : join(cacheFolder, 'native');
  if (cacheFolder !== null) await warm(cacheFolder, codeCache);
  progress('running its top level');
  // Loading the encoder takes as long as the run: do both at once.
  const [encoder, module] = await Promise.all([
    import('@bytecodealliance/jco'),
    snapshot(engine, source, join(workFolder, 'run'), codeCache, limits),
  ]);
  const { size } = await stat(module);
  if (size > request.sizeLimitBytes) throw new BuildStopped({ kind: 'too-large', bytes: size });
  progress('making the component');
  const adapter = await readFile(encoder.preview1AdapterReactorPath());
  const bare = await encoder.componentNew(await readFile(module), [['wasi_snapshot_preview1', adapter]]);
  const component = await encoder.metadataAdd(bare, [
    ['language', [['JavaScript', '']]],
    ['processed-by', [['ComponentizeJS', componentizeVersion]]],
  ]);
  const path = join(workFolder, 'component.wasm');
  await writeFile(path, component);
  return path;

  /**
   * Has the engine compiled to native code apart from the source, so that the time limit of the source counts its own
   * time alone. The snapshot tool keeps the code itself; the mark says that it was made.
   */
  async function warm(folder: string, cache: string): Promise<void> {
    const mark = join(cache, `compiled-${engineKey.slice(0, 16)}`);
    await mkdir(cache, { recursive: true, mode: 0o700 });
    if (await stat(mark).catch(() => null)) return;
    progress('compiling the JavaScript engine (once)');
    const run = await mkdtemp(join(folder, 'first-run-'));
    try {
      await snapshot(engine, nothing, run, cache, { ...limits, timeMs: compileTimeMs });
    } catch (error) {
      throw error instanceof BuildStopped
        ? new Error(`the engine does not start: ${JSON.stringify(error.problem)}`)
        : error;
    } finally {
      await rm(run, { recursive: true, force: true });
    }
    await writeFile(mark, '');
  }
}
