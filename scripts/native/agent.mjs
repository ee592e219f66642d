// Builds native/agent/skerry-agent.cpio: the initial file system of a microVM, which is the agent, a static program, and
// nothing else. A stamp beside it says what it was made from; nothing happens when the sources are those of the last build.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isBuilt, place, sha256, stop, writeStamp } from './common.mjs';
import { archive, characterDevice, folder as folderEntry, program } from './cpio.mjs';

const folder = fileURLToPath(new URL('../../native/agent/', import.meta.url));
const image = join(folder, 'skerry-agent.cpio');
/** A guest has the architecture of its host. */
const TARGETS = { x64: 'x86_64-unknown-linux-musl', arm64: 'aarch64-unknown-linux-musl' };

/** @type {(command: string, args: string[]) => string | null} */
function ask(command, args) {
  const { status, stdout } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

function compiler() {
  return (
    ask('rustc', ['--version', '--verbose']) ??
    stop('cargo is missing: install Rust with rustup; without it microVMs have no agent')
  );
}

function rustTarget() {
  const target =
    TARGETS[process.arch] ?? stop(`microVMs are for ${Object.keys(TARGETS).join(' and ')}, not ${process.arch}`);
  const library = join(ask('rustc', ['--print', 'sysroot']) ?? '', 'lib', 'rustlib', target);
  if (!existsSync(library) && ask('rustup', ['target', 'add', target]) === null) {
    stop(`Rust's library for ${target} is missing, and rustup cannot fetch it: run \`rustup target add ${target}\``);
  }
  return target;
}

/** In the user's cache, so that another clone builds in seconds; never one that another compiler has filled. */
function targetFolder() {
  const key = createHash('sha256').update(compiler()).digest('hex').slice(0, 12);
  const target = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'skerry', `agent-${key}`);
  mkdirSync(target, { recursive: true });
  return target;
}

/** @type {(work: string, args: string[]) => void} */
function cargo(work, [verb, ...rest]) {
  const options = [verb, '--release', '--locked', '--quiet', '--target', rustTarget(), '--target-dir', work, ...rest];
  const { status, error } = spawnSync('cargo', options, { cwd: folder, stdio: ['ignore', 2, 2] });
  if (error) stop(`cargo cannot be run: ${error.message}; install Rust with rustup`);
  if (status !== 0) stop(`cargo ${verb} of native/agent failed (status ${status}); see above`);
}

/** What the kernel and Rust's start want to find before the agent has mounted anything. @type {(agent: Uint8Array) => Buffer} */
const initial = (agent) =>
  archive([
    folderEntry('dev'),
    characterDevice('dev/console', [5, 1]),
    characterDevice('dev/null', [1, 3]),
    folderEntry('proc'),
    folderEntry('sys'),
    program('init', agent),
  ]);

export function build() {
  if (process.platform !== 'linux') return;
  const sources = readdirSync(join(folder, 'src')).map((name) => join('src', name));
  const paths = ['Cargo.toml', 'Cargo.lock', ...sources.sort()];
  const made = {
    platform: `${process.platform}-${process.arch}`,
    compiler: compiler(),
    sources: Object.fromEntries(paths.map((path) => [path, sha256(join(folder, path))])),
  };
  if (isBuilt(image, made)) return;
  const work = targetFolder();
  cargo(work, ['build']);
  const built = join(work, `${process.pid}.cpio`);
  writeFileSync(built, initial(readFileSync(join(work, rustTarget(), 'release', 'skerry-agent'))));
  place(built, image);
  writeStamp(image, made);
}

export const clippy = () => cargo(targetFolder(), ['clippy', '--all-targets', '--', '-D', 'warnings']);

export const test = () => cargo(targetFolder(), ['test']);
