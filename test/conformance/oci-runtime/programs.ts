/** The programs of the suite, made with Go by the versions that go.mod and go.sum beside this name. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '../../support/cache.ts';

const TOOLS = 'github.com/opencontainers/runtime-tools';
const MODULE_FILES = ['go.mod', 'go.sum'];

/**
 * A folder with `runtimetest`, each program of `validation/` by its name, and the root file system that those unpack. Throws
 * when they cannot be had.
 */
export function suitePrograms(): string {
  const own = fileURLToPath(new URL('.', import.meta.url));
  const hash = createHash('sha256');
  for (const name of MODULE_FILES) hash.update(readFileSync(join(own, name)));
  const folder = join(cacheFolder('conformance'), `oci-runtime-${hash.digest('hex').slice(0, 12)}`);
  const built = join(folder, 'built');
  if (existsSync(built)) return folder;
  mkdirSync(folder, { recursive: true });
  for (const name of MODULE_FILES) copyFileSync(join(own, name), join(folder, name));
  const go = (...args: string[]): string => {
    // They run inside of containers that have no libraries.
    const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod' };
    const { error, status, stdout, stderr } = spawnSync('go', args, { cwd: folder, env, encoding: 'utf8' });
    if (error) throw new Error('the suite is built with Go, and there is no `go` here: install it');
    if (status !== 0) throw new Error(`the suite could not be built: ${stderr}`);
    return stdout.trim();
  };
  go('build', '-o', `${folder}/`, `${TOOLS}/cmd/runtimetest`, `${TOOLS}/validation/...`);
  const source = go('list', '-m', '-f', '{{.Dir}}', TOOLS);
  const rootfs = `rootfs-${process.arch === 'x64' ? 'amd64' : process.arch}.tar.gz`;
  copyFileSync(join(source, rootfs), join(folder, rootfs));
  copyFileSync(join(folder, 'go.mod'), built);
  return folder;
}
