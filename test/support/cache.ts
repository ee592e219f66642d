/** What tests and benchmarks keep between runs, in the user's cache. */
import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

export function cacheFolder(name: string): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skerry', name);
}

/** `path`, whose name must tell what is in it; `make` gives its bytes when it is not there. */
export async function keptFile(path: string, make: () => Promise<Uint8Array>): Promise<string> {
  if (existsSync(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  // It takes its name at the end: nobody finds a half of it.
  const part = `${path}.${process.pid}`;
  await writeFile(part, await make());
  await rename(part, path);
  return path;
}
