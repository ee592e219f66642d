/** Components built from JavaScript for tests, kept between runs: each takes seconds to build. */
import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { buildJavaScript, javaScriptBuildKey } from '../../images/build/javascript/index.ts';

const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skerry', 'test-javascript');

/** The builder's own folder: with it, only the first build ever on this machine prepares the engine. */
export const builderFolder = join(folder, 'builder');

/** The path of the component that `source` gives; built if neither it nor the toolchain was seen before. */
export async function javaScriptComponent(source: string): Promise<string> {
  const path = join(folder, `${javaScriptBuildKey(source).slice(0, 24)}.wasm`);
  if (existsSync(path)) return path;
  await mkdir(folder, { recursive: true });
  const part = `${path}.${process.pid}`;
  await writeFile(part, await buildJavaScript(source, { cacheFolder: builderFolder }));
  await rename(part, path);
  return path;
}
