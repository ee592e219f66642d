import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './cache.ts';

const VERSION = '0.25.1';

/** The environment that has componentize-py, installed into the cache when it is not there; else why it cannot be. */
export function componentizePy(): Record<'PATH' | 'PYTHONPATH', string> | string {
  const kept = cacheFolder(`componentize-py-${VERSION}`);
  const bin = join(kept, 'bin');
  const env = { PATH: `${bin}:${process.env.PATH}`, PYTHONPATH: kept };
  if (existsSync(join(bin, 'componentize-py'))) return env;
  const part = `${kept}.${process.pid}`;
  // Scripts of a virtual environment hold its path: packages go where they stay the same when they are moved.
  const pip = ['-m', 'pip', 'install', '--quiet', '--target', part, `componentize-py==${VERSION}`];
  const done = spawnSync('python3', pip, { encoding: 'utf8' });
  if (done.status !== 0) {
    rmSync(part, { recursive: true, force: true });
    return `componentize-py cannot be installed: ${done.error?.message ?? done.stderr.trim()}`;
  }
  renameSync(part, kept);
  return env;
}
