// Builds the host layer: native/host/skerry-host.node from its C++ sources with the compiler itself, and
// native/host/skerry-launcher from launcher.cc, and what is loaded into other programs, each with a stamp beside it. Nothing
// happens when the sources, and the Node.js that the addon was made for, are those of the last build.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isBuilt, place, sha256, stop, writeStamp } from './common.mjs';

const folder = fileURLToPath(new URL('../../native/host/', import.meta.url));
const library = join(folder, 'skerry-host.node');
const launcher = join(folder, 'skerry-launcher');
const LAUNCHER_SOURCE = 'launcher.cc';
/** Of NAME.cc comes skerry-NAME.so. */
const PRELOADED = ['private-memory', 'repeatable'];
/** Programs, and what is loaded into others: not of the addon. */
const OWN = [LAUNCHER_SOURCE, ...PRELOADED.map((name) => `${name}.cc`)];

const compiler = process.env.CXX || 'g++';

const WARNINGS = ['-Wall', '-Wextra', '-Werror'];
const HARDENING = [
  '-D_FORTIFY_SOURCE=2',
  '-D_GLIBCXX_ASSERTIONS',
  '-fstack-protector-strong',
  '-fstack-clash-protection',
  ...(process.arch === 'x64' ? ['-fcf-protection'] : []),
];
const LINKING = ['-Wl,-z,relro', '-Wl,-z,now', '-Wl,-z,noexecstack'];
const COMMON = ['-std=c++20', '-O2', ...WARNINGS, ...HARDENING];

/** The digest of each of these sources, by name. @type {(names: string[]) => Record<string, string>} */
function digests(names) {
  return Object.fromEntries(names.sort().map((name) => [name, sha256(join(folder, name))]));
}

function checkCompiler() {
  if (spawnSync(compiler, ['--version']).status === 0) return;
  stop(
    `${compiler} is missing, which native/host needs: install a C++ compiler (on Debian: apt-get install g++), then \`npm run build\``,
  );
}

/** The headers of the Node.js that runs this: beside it, or where Debian puts them. */
function nodeHeaders() {
  const major = process.versions.node.split('.')[0];
  const places = [
    join(dirname(dirname(process.execPath)), 'include', 'node'),
    '/usr/include/node',
    '/usr/include/nodejs/src',
  ];
  const found = places.find((place) => {
    const version = join(place, 'node_version.h');
    if (!existsSync(version) || !existsSync(join(place, 'node_api.h'))) return false;
    return new RegExp(`NODE_MAJOR_VERSION\\s+${major}\\b`).test(readFileSync(version, 'utf8'));
  });
  return (
    found ??
    stop(
      `the C++ headers of Node.js ${major} are missing, which native/host needs: install those of this version (on Debian: apt-get install libnode-dev) or a Node.js from nodejs.org, which brings them, then \`npm run build\``,
    )
  );
}

function addonApi() {
  const found = fileURLToPath(new URL('../../node_modules/node-addon-api/', import.meta.url));
  return existsSync(join(found, 'napi.h'))
    ? found
    : stop('node-addon-api is missing, which native/host needs: run `npm install`');
}

/** @type {(args: string[]) => Promise<{ status: number | null, output: string }>} */
function compile(args) {
  return new Promise((resolve) => {
    const child = spawn(compiler, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    child.on('error', (error) => resolve({ status: null, output: error.message }));
    child.on('close', (status) => resolve({ status, output }));
  });
}

/** @type {(what: string, args: string[]) => Promise<void>} */
async function compileOrStop(what, args) {
  const { status, output } = await compile(args);
  if (status !== 0) stop(`${output}\n${what} of native/host does not compile; see above`);
  process.stderr.write(output);
}

async function buildLibrary(work) {
  const files = readdirSync(folder).filter((name) => /\.(cc|h)$/.test(name) && !OWN.includes(name));
  const made = {
    platform: `${process.platform}-${process.arch}`,
    // Handles of libuv are laid out as this version's headers say.
    node: process.versions.node,
    sources: digests(files),
  };
  if (isBuilt(library, made)) return;
  checkCompiler();
  const includes = ['-isystem', nodeHeaders(), '-isystem', addonApi()];
  const flags = [
    ...COMMON,
    '-fPIC',
    '-fvisibility=hidden',
    '-DNAPI_VERSION=9',
    '-DNODE_ADDON_API_CPP_EXCEPTIONS',
    ...includes,
  ];
  const sources = files.filter((name) => name.endsWith('.cc'));
  const waiting = [...sources];
  const worker = async () => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      await compileOrStop(name, [...flags, '-c', name, '-o', join(work, `${name}.o`)]);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  const objects = sources.map((name) => join(work, `${name}.o`));
  const linked = join(work, 'skerry-host.node');
  await compileOrStop('the addon', ['-shared', ...LINKING, ...objects, '-o', linked]);
  place(linked, library);
  writeStamp(library, made);
}

async function buildLauncher(work) {
  if (!existsSync(join(folder, LAUNCHER_SOURCE))) return;
  const made = { platform: `${process.platform}-${process.arch}`, sources: digests([LAUNCHER_SOURCE]) };
  if (isBuilt(launcher, made)) return;
  checkCompiler();
  const built = join(work, 'skerry-launcher');
  const args = [...COMMON, ...LINKING, LAUNCHER_SOURCE, '-o', built];
  // Static where the system has static libraries: it starts in half the time and needs nothing of the root it is run in.
  const { status } = await compile(['-static-pie', '-fPIE', ...args]);
  if (status !== 0) await compileOrStop(LAUNCHER_SOURCE, ['-pie', '-fPIE', ...args]);
  place(built, launcher);
  writeStamp(launcher, made);
}

/** What LD_PRELOAD brings into a program. @type {(name: string, work: string) => Promise<void>} */
async function buildPreloaded(name, work) {
  const [source, file] = [`${name}.cc`, `skerry-${name}.so`];
  const made = { platform: `${process.platform}-${process.arch}`, sources: digests([source]) };
  if (isBuilt(join(folder, file), made)) return;
  checkCompiler();
  const built = join(work, file);
  // What it stands in for are functions that fortified headers define themselves.
  const flags = [...COMMON, '-U_FORTIFY_SOURCE', '-fPIC', '-fvisibility=hidden', '-fno-exceptions', '-fno-rtti'];
  await compileOrStop(source, ['-shared', ...flags, ...LINKING, source, '-o', built]);
  place(built, join(folder, file));
  writeStamp(join(folder, file), made);
}

export async function build() {
  if (process.platform !== 'linux') return;
  const work = mkdtempSync(join(tmpdir(), 'skerry-build-'));
  try {
    await buildLibrary(work);
    await buildLauncher(work);
    for (const name of PRELOADED) await buildPreloaded(name, work);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
