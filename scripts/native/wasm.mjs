// Builds the native Wasm engine: native/wasm/skerry-wasm.node, with a stamp beside it that says what it was made from.
// Nothing happens when the sources are those of the last build.
//
// Cargo works in a folder of the user's cache, named by the lock file and the compiler, so that another clone of
// Skerry builds in seconds; SKERRY_TARGET_DIR names another one.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { patchesOf, stageCrate } from '../stage-crate.mjs';
import { isBuilt, place, sha256, stop, writeStamp } from './common.mjs';

const folder = fileURLToPath(new URL('../../native/wasm/', import.meta.url));
const library = join(folder, 'skerry-wasm.node');

/** Path within native/wasm → digest, of all that goes into the library. */
function sources() {
  const inside = (name) => {
    const files = readdirSync(join(folder, name), { recursive: true, withFileTypes: true });
    return files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name).slice(folder.length));
  };
  const code = ['src', 'wit'].filter((name) => existsSync(join(folder, name))).flatMap(inside);
  const paths = ['Cargo.toml', 'Cargo.lock', 'build.rs', ...patchesOf(folder), ...code];
  return Object.fromEntries(paths.sort().map((path) => [path, sha256(join(folder, path))]));
}

/** @type {(command: string, args: string[]) => string | null} */
function ask(command, args) {
  const { status, stdout } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

function targetFolder() {
  if (process.env.SKERRY_TARGET_DIR) return process.env.SKERRY_TARGET_DIR;
  const compiler = ask('rustc', ['--version', '--verbose']);
  if (compiler === null || ask('cargo', ['--version']) === null) {
    stop('cargo is missing: install Rust with rustup, or run the node on the jco engine, which needs none of this');
  }
  const key = createHash('sha256')
    .update(compiler)
    .update(readFileSync(join(folder, 'Cargo.lock')))
    .digest('hex');
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(cache, 'skerry', `target-${key.slice(0, 12)}`);
}

/** Runs cargo over the staged crate with what it compiles in `target`. @type {(target: string, args: string[]) => void} */
function cargo(target, args) {
  let stage;
  try {
    stage = stageCrate(folder, target);
  } catch (error) {
    stop(`native/wasm cannot be made ready for cargo: ${error.message}`);
  }
  const [verb, ...rest] = args;
  const options = [verb, '--release', '--offline', '--target-dir', target, ...rest];
  const { status, error } = spawnSync('cargo', options, { cwd: stage, stdio: 'inherit' });
  if (error) stop(`cargo cannot be run: ${error.message}; install Rust with rustup`);
  if (status !== 0) stop(`cargo ${verb} failed (status ${status}); see above`);
}

/** Does `work` while no other process does any under the same lock file; one whose process is gone is nobody's. */
function alone(lock, work) {
  for (let said = false; ; ) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = Number(readFileSync(lock, 'utf8'));
    if (holder > 0 && !existsSync(`/proc/${holder}`) && process.platform === 'linux') {
      rmSync(lock, { force: true });
      continue;
    }
    if (!said) process.stdout.write(`waiting for another build (process ${holder}; its lock is ${lock})\n`);
    said = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
  }
  try {
    work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Libraries that were built before stay in the target folder, so that a fresh clone has nothing to compile. */
const KEPT = 4;

function forgetOldest(kept) {
  const names = readdirSync(kept).filter((name) => name.endsWith('.node'));
  const paths = names.map((name) => join(kept, name));
  const byAge = paths.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const path of byAge.slice(KEPT)) rmSync(path, { force: true });
}

export function build() {
  const made = { platform: `${process.platform}-${process.arch}`, sources: sources() };
  if (isBuilt(library, made)) return;
  const target = targetFolder();
  const kept = join(target, 'skerry');
  const digest = createHash('sha256').update(JSON.stringify(made)).digest('hex').slice(0, 16);
  const before = join(kept, `${digest}.node`);
  if (!existsSync(before)) {
    if (!existsSync(join(target, 'release', 'deps'))) {
      process.stdout.write('building the native Wasm engine: some eight minutes on two cores the first time\n');
    }
    mkdirSync(kept, { recursive: true });
    // Clones share the folder: what one has built must be taken from it before another one builds.
    alone(join(target, 'skerry', '.building'), () => {
      cargo(target, ['build']);
      const name = process.platform === 'darwin' ? 'libskerry_wasm.dylib' : 'libskerry_wasm.so';
      place(join(target, 'release', name), before);
    });
    forgetOldest(kept);
  }
  place(before, library);
  writeStamp(library, made);
}

export const clippy = () => cargo(targetFolder(), ['clippy', '--all-targets', '--', '-D', 'warnings']);

export const test = () => cargo(targetFolder(), ['test']);
