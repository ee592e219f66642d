// Debian's kernel for virtual machines, unpacked into a folder of the user's cache and not installed.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { say } from '../setup.mjs';
import { Unavailable } from './unavailable.mjs';

/** Its newest version, whichever that is: this one depends on it. */
const PACKAGE = 'linux-image-cloud-amd64';
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'skerry', 'test-v2');

/** @type {(command: string, args: string[], cwd?: string) => string} */
function ask(command, args, cwd) {
  const done = spawnSync(command, args, { encoding: 'utf8', cwd });
  if (done.error) throw new Unavailable(`${command} cannot be run (${done.error.code})`);
  if (done.status !== 0) throw new Unavailable(`\`${[command, ...args].join(' ')}\` failed: ${done.stderr.trim()}`);
  return done.stdout;
}

function packageName() {
  const look = () => /Depends: (linux-image-\S+)/.exec(ask('apt-cache', ['depends', PACKAGE]))?.[1];
  try {
    const found = look();
    if (found) return found;
  } catch {
    // The list of packages may be empty yet.
  }
  if (process.getuid?.() === 0) spawnSync('apt-get', ['update', '-qq'], { stdio: ['ignore', 2, 2] });
  return look() ?? '';
}

/** A kernel that was fetched before, where the network or the list of packages is gone since. */
function fetchedBefore() {
  if (!existsSync(cache)) return undefined;
  const names = readdirSync(cache).filter((name) => /^linux-image-[\w.-]+-amd64$/.test(name));
  return names.sort().at(-1);
}

/**
 * A folder with `boot/vmlinuz-*` and `lib/modules/`: the one that SKERRY_TEST_KERNEL names, or Debian's. Throws Unavailable.
 */
export function kernelFolder() {
  if (process.env.SKERRY_TEST_KERNEL) return process.env.SKERRY_TEST_KERNEL;
  if (process.arch !== 'x64') {
    throw new Unavailable('the kernel that is fetched is for x86-64: name another one in SKERRY_TEST_KERNEL');
  }
  const before = fetchedBefore();
  if (before) return join(cache, before);
  const name = packageName();
  if (name === '') throw new Unavailable(`the system's packages have no ${PACKAGE}`);
  const folder = join(cache, name);
  say(`fetching ${name}`);
  const part = `${folder}.${process.pid}`;
  mkdirSync(part, { recursive: true });
  try {
    ask('apt-get', ['download', name], part);
    const archive = readdirSync(part).find((file) => file.endsWith('.deb'));
    ask('dpkg-deb', ['-x', archive, '.'], part);
    rmSync(join(part, archive));
    renameSync(part, folder);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
  return folder;
}
