/** Components built from JavaScript for tests, kept between runs: each takes seconds to build. */
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildJavaScript, javaScriptBuildKey } from '../../images/build/javascript/index.ts';
import { cacheFolder, keptFile } from './cache.ts';

const folder = cacheFolder('test-javascript');

/** The builder's own folder: with it, only the first build ever on this machine prepares the engine. */
export const builderFolder = join(folder, 'builder');

/** The path of the component that `source` gives; built if neither it nor the toolchain was seen before. */
export function javaScriptComponent(source: string): Promise<string> {
  const path = join(folder, `${javaScriptBuildKey(source).slice(0, 24)}.wasm`);
  return keptFile(path, () => buildJavaScript(source, { cacheFolder: builderFolder }));
}

/**
 * The JavaScript engine is prepared once for each data folder: here it is taken from an earlier test, into the folder of a
 * node that has not started yet.
 */
export function takeBuilder(data: string): void {
  if (!existsSync(builderFolder)) return;
  mkdirSync(data, { recursive: true, mode: 0o700 });
  cpSync(builderFolder, join(data, 'build'), { recursive: true, filter: (path) => !/build-\w+$/.test(path) });
  // A node's folder has it; one with other things in it would be refused.
  writeFileSync(join(data, 'version'), '1\n');
}
