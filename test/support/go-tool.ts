import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './cache.ts';

/**
 * The binary of a Go package, installed into the cache when it is not there. Throws when that is not possible.
 * @param name what Go calls it @param source `PACKAGE@VERSION`
 */
export function goTool(name: string, source: string): string {
  const bin = join(cacheFolder('conformance'), 'bin');
  const binary = join(bin, name);
  if (existsSync(binary)) return binary;
  mkdirSync(bin, { recursive: true });
  const env = { ...process.env, GOBIN: bin, GOFLAGS: '-mod=mod' };
  const done = spawnSync('go', ['install', source], { env, encoding: 'utf8' });
  if (done.error)
    throw new Error(`${name} is installed with Go, and there is no \`go\` here: install Go 1.24 or newer`);
  if (done.status !== 0) throw new Error(`${name} could not be installed: ${done.stderr}`);
  return binary;
}
