// Builds native/kernel/vmlinux, the kernel of microVMs, from Debian's linux-source package and the configuration beside it.
// A stamp says what it was made from. What was built stays in a folder of the user's cache, named by the version of the
// source and a digest of the configuration, so that another clone has nothing to compile.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { installSystemPackages, KERNEL_PACKAGES } from '../system-packages.mjs';
import { isBuilt, place, sha256, stop, writeStamp } from './common.mjs';

const folder = fileURLToPath(new URL('../../native/kernel/', import.meta.url));
const kernel = join(folder, 'vmlinux');
/** The version of Linux whose newest source the system's packages have; each Debian has its own. */
const SOURCE_PACKAGE = 'linux-source';
/** Files that a build compiles, about: for lines that tell how far it is. */
const OBJECTS = 1050;
/** How often a line tells of it, in milliseconds. */
const TELL_MS = 15_000;
/** The machines that the kernel runs on, as its makefile, its file names and its configuration call them. */
const ARCHITECTURES = { x64: 'x86_64', arm64: 'arm64' };

const tell = (line) => process.stderr.write(`kernel: ${line}\n`);

function cacheFolder() {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'skerry', 'guest-kernel');
}

/** @type {(command: string, args: string[], cwd?: string) => string} */
function ask(command, args, cwd) {
  const done = spawnSync(command, args, { encoding: 'utf8', cwd, maxBuffer: 64 * 2 ** 20 });
  if (done.error) stop(`the kernel cannot be built: ${command} cannot be run (${done.error.code})`);
  if (done.status !== 0) stop(`the kernel cannot be built: \`${[command, ...args].join(' ')}\`: ${done.stderr.trim()}`);
  return done.stdout;
}

/** The package with the source itself and its version, or null where the system's packages have none. */
function newestSource() {
  const found = lookForSource();
  if (found || process.getuid?.() !== 0) return found;
  // The list of packages may be empty yet.
  spawnSync('apt-get', ['update', '-qq'], { stdio: ['ignore', 2, 2] });
  return lookForSource();
}

function lookForSource() {
  const look = (name, field) => {
    const { stdout } = spawnSync('apt-cache', ['show', '--no-all-versions', name], { encoding: 'utf8' });
    return new RegExp(`^${field}: (.*)$`, 'm').exec(stdout ?? '')?.[1];
  };
  const name = /linux-source-[\d.]+/.exec(look(SOURCE_PACKAGE, 'Depends') ?? '')?.[0];
  const version = name && look(name, 'Version');
  return version ? { name, version } : null;
}

/** A kernel by this configuration that was built before: the newest of them. @type {(suffix: string) => string | null} */
function builtBefore(suffix) {
  if (!existsSync(cacheFolder())) return null;
  const names = readdirSync(cacheFolder()).filter((name) => name.endsWith(suffix));
  const paths = names.map((name) => join(cacheFolder(), name, 'vmlinux')).filter((path) => existsSync(path));
  return paths.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0] ?? null;
}

/** @type {(source: { name: string }, work: string) => string} */
function unpackSource({ name }, work) {
  tell(`fetching ${name} (130 MB)`);
  ask('apt-get', ['download', '-qq', name], work);
  const archive = readdirSync(work).find((file) => file.endsWith('.deb')) ?? stop(`${name} was not fetched`);
  tell('unpacking it (1.3 GB; it is removed when the kernel is built)');
  ask('dpkg-deb', ['-x', archive, 'package'], work);
  rmSync(join(work, archive));
  const tar = join(work, 'package', 'usr', 'src', `${name}.tar.xz`);
  ask('tar', ['-xJf', tar], work);
  rmSync(tar);
  return join(work, name);
}

/** The lines of the fragments that the kernel's own configuration did not take. @type {(wanted: string, taken: string) => string[]} */
function untaken(wanted, taken) {
  const lines = new Set(taken.split('\n'));
  const isTaken = (line) => {
    const off = /^# (CONFIG_\w+) is not set$/.exec(line);
    if (off) return !new RegExp(`^${off[1]}=`, 'm').test(taken);
    return !line.startsWith('CONFIG_') || lines.has(line);
  };
  return wanted.split('\n').filter((line) => !isTaken(line));
}

/** @type {(source: string, fragments: string) => void} */
function configure(source, fragments) {
  ask('make', ['-s', 'tinyconfig'], source);
  appendFileSync(join(source, '.config'), fragments);
  ask('make', ['-s', 'olddefconfig'], source);
  const refused = untaken(fragments, readFileSync(join(source, '.config'), 'utf8'));
  if (refused.length > 0) stop(`this source of the kernel does not take: ${refused.join(', ')}`);
}

/** On all processors, behind whatever else the machine does. @type {(source: string, target: string) => Promise<void>} */
function compile(source, target) {
  const args = ['-n', '10', 'make', `-j${availableParallelism()}`, target];
  const make = spawn('nice', args, { cwd: source, stdio: ['ignore', 'pipe', 'pipe'] });
  const last = [];
  let objects = 0;
  for (const stream of [make.stdout, make.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      if (/^ {2}(CC|AS) /.test(line)) objects++;
      last.push(line);
      if (last.length > 40) last.shift();
    });
  }
  const timer = setInterval(() => tell(`compiling: ${Math.min(99, Math.round((100 * objects) / OBJECTS))} %`), TELL_MS);
  return new Promise((resolve, reject) => {
    make.on('error', reject);
    make.on('close', (status) => {
      clearInterval(timer);
      if (status === 0) return resolve();
      tell(last.join('\n'));
      reject(new Error(`make ended with status ${status}`));
    });
  });
}

/** @type {(source: { name: string, version: string }, architecture: string, fragments: string, final: string) => Promise<void>} */
async function buildFrom(source, architecture, fragments, final) {
  installSystemPackages(KERNEL_PACKAGES, 'the kernel of microVMs');
  tell(`building ${source.name} ${source.version}: some eight minutes of processor time, once`);
  mkdirSync(cacheFolder(), { recursive: true });
  const work = mkdtempSync(join(cacheFolder(), '.building-'));
  try {
    const tree = unpackSource(source, work);
    configure(tree, fragments);
    const target = architecture === 'arm64' ? 'Image' : 'vmlinux';
    await compile(tree, target);
    const built = join(tree, architecture === 'arm64' ? 'arch/arm64/boot/Image' : 'vmlinux');
    const result = join(work, 'result');
    mkdirSync(result);
    if (architecture === 'arm64') renameSync(built, join(result, 'vmlinux'));
    else ask('strip', ['--strip-all', '-o', join(result, 'vmlinux'), built]);
    renameSync(join(tree, '.config'), join(result, 'config'));
    rmSync(final, { recursive: true, force: true });
    renameSync(result, final);
    tell('built');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

export async function build() {
  if (process.platform !== 'linux') return;
  const architecture =
    ARCHITECTURES[process.arch] ??
    stop(`microVMs are for ${Object.keys(ARCHITECTURES).join(' and ')}, not ${process.arch}`);
  const fragments = ['common', architecture]
    .map((name) => readFileSync(join(folder, `${name}.config`), 'utf8'))
    .join('');
  const digest = createHash('sha256').update(fragments).digest('hex').slice(0, 12);
  const suffix = `-${architecture}-${digest}`;
  const source = newestSource();
  const wanted = source && join(cacheFolder(), `${source.version}${suffix}`);
  if (wanted && !existsSync(join(wanted, 'vmlinux'))) await buildFrom(source, architecture, fragments, wanted);
  const found =
    (wanted && join(wanted, 'vmlinux')) ??
    builtBefore(suffix) ??
    stop(
      `the kernel of microVMs is built from Debian's package ${SOURCE_PACKAGE}, which the system's packages do not have: on another system, build one on Debian and copy it to ${kernel}`,
    );
  const made = { kernel: sha256(found) };
  if (isBuilt(kernel, made)) return;
  place(found, kernel);
  writeStamp(kernel, made);
}
