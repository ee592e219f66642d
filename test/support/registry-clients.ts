/** Outside clients of registries: those on the PATH, and those that Go installs within a minute, which are kept in the cache. */
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './cache.ts';
import { goTool } from './go-tool.ts';

/** Go's tools are looked for where the benchmarks and the conformance suites keep theirs, too. */
export const clientPath = [
  process.env.PATH,
  join(cacheFolder('conformance'), 'bin'),
  join(cacheFolder('peers'), 'bin'),
].join(':');

const MADE_BY_GO: Readonly<Record<string, string>> = {
  crane: 'github.com/google/go-containerregistry/cmd/crane@v0.22.1',
  oras: 'oras.land/oras/cmd/oras@v1.3.6',
  regctl: 'github.com/regclient/regclient/cmd/regctl@v0.11.7',
};
const SAYS_VERSION: Readonly<Record<string, string>> = {
  ...{ crane: 'version', oras: 'version', regctl: 'version', cosign: 'version' },
};

/** Why it cannot be used, or null. Installs what is cheap to install. */
export function whyNoClient(command: string): string | null {
  const env = { ...process.env, PATH: clientPath };
  const { error } = spawnSync(command, [SAYS_VERSION[command] ?? '--version'], { env });
  if (!error) return null;
  const source = MADE_BY_GO[command];
  if (source === undefined) return `${command} is not installed`;
  try {
    goTool(command, source);
    return null;
  } catch (problem) {
    return (problem as Error).message.split('\n')[0] as string;
  }
}

/** Runs one with a home of its own; what it wrote to stdout. Throws with what it said when it fails. */
export async function runClient(
  command: string,
  args: readonly string[],
  { home, cwd }: { readonly home: string; readonly cwd: string },
): Promise<string> {
  const env = { ...process.env, PATH: clientPath, HOME: home, DOCKER_CONFIG: home };
  return (await promisify(execFile)(command, args, { env, cwd, timeout: 120_000 })).stdout;
}
