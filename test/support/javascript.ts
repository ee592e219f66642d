/** Components built from JavaScript for tests, kept between runs: each takes seconds to build. */
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
