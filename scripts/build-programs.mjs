// Builds the programs in Rust that images need: native/unpack/skerry-unpack, which unpacks layers, and
// native/delta/skerry-delta, which tells one blob by another. Nothing happens for one whose sources are those of its last
// build. With --clippy they are linted instead, with --test their unit tests are run.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const names = ['unpack', 'delta'];

const folderOf = (name) => fileURLToPath(new URL(`../native/${name}/`, import.meta.url));

function fail(why) {
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

function compiler() {
  const { status, stdout } = spawnSync('rustc', ['--version', '--verbose'], { encoding: 'utf8' });
  if (status !== 0)
    fail('cargo is missing: install Rust with rustup; without it images cannot be unpacked, and are sent whole');
  return stdout;
}

/** Of all that goes into a program. */
function stampNow(folder) {
  const hash = createHash('sha256').update(compiler());
  const sources = readdirSync(join(folder, 'src')).map((name) => join('src', name));
  for (const path of ['Cargo.toml', 'Cargo.lock', '.cargo/config.toml', ...sources.sort()])
    hash.update(`${path}\0`).update(readFileSync(join(folder, path)));
  return hash.digest('hex');
}

/** In the user's cache, so that another clone builds in seconds; never one that another compiler has filled. */
function targetFolder(name) {
  const key = createHash('sha256').update(compiler()).digest('hex').slice(0, 12);
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'skerry', `${name}-${key}`);
}

/** @type {(name: string, args: string[]) => void} */
function cargo(name, [verb, ...rest]) {
  const options = [verb, '--release', '--locked', '--quiet', '--target-dir', targetFolder(name), ...rest];
  const { status, error } = spawnSync('cargo', options, { cwd: folderOf(name), stdio: ['ignore', 2, 2] });
  if (error) fail(`cargo cannot be run: ${error.message}; install Rust with rustup`);
  if (status !== 0) fail(`cargo ${verb} failed (status ${status}); see above`);
}

function build(name) {
  const folder = folderOf(name);
  const program = join(folder, `skerry-${name}`);
  const stampFile = `${program}.stamp`;
  const stamp = stampNow(folder);
  if (existsSync(program) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  const target = targetFolder(name);
  mkdirSync(target, { recursive: true });
  cargo(name, ['build']);
  copyFileSync(join(target, 'release', `skerry-${name}`), `${program}.${process.pid}`);
  // They are started by others than their owner: the root of a user namespace, who is nobody here, and the node's user.
  chmodSync(`${program}.${process.pid}`, 0o755);
  renameSync(`${program}.${process.pid}`, program);
  writeFileSync(stampFile, stamp);
}

for (const name of names) {
  if (process.argv.includes('--test')) cargo(name, ['test']);
  else if (process.argv.includes('--clippy')) cargo(name, ['clippy', '--all-targets', '--', '-D', 'warnings']);
  else build(name);
}
