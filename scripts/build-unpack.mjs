// Builds native/unpack/skerry-unpack, the program that unpacks image layers. Nothing happens when its sources are those of
// the last build. With --clippy it lints instead, with --test it runs the unit tests.
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

const folder = fileURLToPath(new URL('../native/unpack/', import.meta.url));
const program = join(folder, 'skerry-unpack');
const stampFile = `${program}.stamp`;

function fail(why) {
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

function compiler() {
  const { status, stdout } = spawnSync('rustc', ['--version', '--verbose'], { encoding: 'utf8' });
  if (status !== 0) fail('cargo is missing: install Rust with rustup; without it images cannot be unpacked');
  return stdout;
}

/** Of all that goes into the program. */
function stampNow() {
  const hash = createHash('sha256').update(compiler());
  const sources = readdirSync(join(folder, 'src')).map((name) => join('src', name));
  for (const path of ['Cargo.toml', 'Cargo.lock', '.cargo/config.toml', ...sources.sort()])
    hash.update(`${path}\0`).update(readFileSync(join(folder, path)));
  return hash.digest('hex');
}

/** In the user's cache, so that another clone builds in seconds; never one that another compiler has filled. */
function targetFolder() {
  const key = createHash('sha256').update(compiler()).digest('hex').slice(0, 12);
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'skerry', `unpack-${key}`);
}

/** @type {(target: string, args: string[]) => void} */
function cargo(target, [verb, ...rest]) {
  const options = [verb, '--release', '--locked', '--quiet', '--target-dir', target, ...rest];
  const { status, error } = spawnSync('cargo', options, { cwd: folder, stdio: ['ignore', 2, 2] });
  if (error) fail(`cargo cannot be run: ${error.message}; install Rust with rustup`);
  if (status !== 0) fail(`cargo ${verb} failed (status ${status}); see above`);
}

function build() {
  const stamp = stampNow();
  if (existsSync(program) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  const target = targetFolder();
  mkdirSync(target, { recursive: true });
  cargo(target, ['build']);
  copyFileSync(join(target, 'release', 'skerry-unpack'), `${program}.${process.pid}`);
  // The root of a user namespace starts it, who is nobody here.
  chmodSync(`${program}.${process.pid}`, 0o755);
  renameSync(`${program}.${process.pid}`, program);
  writeFileSync(stampFile, stamp);
}

if (process.argv.includes('--test')) cargo(targetFolder(), ['test']);
else if (process.argv.includes('--clippy')) cargo(targetFolder(), ['clippy', '--all-targets', '--', '-D', 'warnings']);
else build();
