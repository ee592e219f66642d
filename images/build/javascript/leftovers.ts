import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Folders of a build that its node did not live to remove. */
const ofOneBuild = /^(build-|first-run-|engine-[0-9a-f]+\.)/;
/** No build takes as long, in milliseconds. */
const abandonedAfterMs = 3_600_000;

const swept = new Set<string>();

/** Removes what builds cut short by a crash have left in the cache folder; once for each folder and process. */
export async function removeLeftovers(cacheFolder: string): Promise<void> {
  if (swept.has(cacheFolder)) return;
  swept.add(cacheFolder);
  for (const name of await readdir(cacheFolder)) {
    if (!ofOneBuild.test(name)) continue;
    const path = join(cacheFolder, name);
    const found = await stat(path).catch(() => null); // another process may have removed it meanwhile
    if (found && Date.now() - found.mtimeMs > abandonedAfterMs) await rm(path, { recursive: true, force: true });
  }
}

/** Removes the engines of toolchains that came before, which nothing will use again. */
export async function removeOtherEngines(cacheFolder: string, current: string): Promise<void> {
  const others = (await readdir(cacheFolder)).filter((name) => /^engine-[0-9a-f]+$/.test(name) && name !== current);
  for (const name of others) await rm(join(cacheFolder, name), { recursive: true, force: true });
}
