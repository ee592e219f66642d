/** The whole way from one JavaScript module to a component; runs in the child process. */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encode, Template } from './encoding.ts';
import { splicedEngine } from './engine.ts';
import { type BuildRequest, BuildStopped } from './protocol.ts';
import { type SnapshotLimits, snapshot } from './snapshot.ts';
import { engineKey } from './toolchain.ts';

/** For the first run of the engine, which compiles it to native code: 7 s of two cores, and small machines are slower. */
const compileTimeMs = 300_000;

/** A source that does nothing: to run it leaves the engine's native code in the cache. */
const nothing = 'export default { fetch() {} };';

function templatePath(codeCache: string): string {
  return join(codeCache, `component-${engineKey.slice(0, 16)}.wasm`);
}

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
  const [template, path] = await Promise.all([
    cacheFolder === null ? null : Template.read(templatePath(codeCache)),
    snapshot(engine, source, join(workFolder, 'run'), codeCache, limits),
  ]);
  const { size } = await stat(path);
  if (size > request.sizeLimitBytes) throw new BuildStopped({ kind: 'too-large', bytes: size });
  progress('making the component');
  const module = await readFile(path);
  const component = template?.fill(module) ?? (await encode(module));
  const output = join(workFolder, 'component.wasm');
  await writeFile(output, component);
  return output;

  /**
   * Has the engine compiled to native code apart from the source, so that the time limit of the source counts its own
   * time alone, and encodes what comes of it, for others to be made from. The snapshot tool keeps the code itself; the
   * mark says that all was made.
   */
  async function warm(folder: string, cache: string): Promise<void> {
    const mark = join(cache, `ready-${engineKey.slice(0, 16)}`);
    await mkdir(cache, { recursive: true, mode: 0o700 });
    if (await stat(mark).catch(() => null)) return;
    progress('compiling the JavaScript engine (once)');
    const run = await mkdtemp(join(folder, 'first-run-'));
    try {
      const module = await readFile(await snapshot(engine, nothing, run, cache, { ...limits, timeMs: compileTimeMs }));
      await Template.store(templatePath(cache), module, await encode(module));
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
