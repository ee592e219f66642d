// `npm test`: sets up everything, builds the native parts, checks the sources, runs every test, and ends with
// `N passed, N failed, N skipped`. Arguments after `--` are patterns of test files; then only those run.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, say, setup } from './setup.mjs';
import {
  COMPILER_PACKAGES,
  CONTAINER_PACKAGES,
  CONTAINER_TEST_PACKAGES,
  installSystemPackages,
  MICROVM_PACKAGES,
} from './system-packages.mjs';
import { countsLine, readCounts, summaryOf } from './test-counts.mjs';

/** A test file that takes longer hangs, in milliseconds. */
const FILE_TIMEOUT_MS = 10 * 60_000;
/** As does the machine with cgroup v2, which has a limit of its own below this. */
const MACHINE_TIMEOUT_MS = 15 * 60_000;

const patterns = process.argv.slice(2);
await setup({ development: true });
installSystemPackages({ ...CONTAINER_PACKAGES, ...CONTAINER_TEST_PACKAGES }, 'containers');
installSystemPackages(COMPILER_PACKAGES, 'the host layer');
installSystemPackages(MICROVM_PACKAGES, 'microVMs');
run(process.execPath, [join(root, 'scripts', 'build-native.mjs'), 'wasm']);
run(process.execPath, [join(root, 'scripts', 'build-programs.mjs')]);

let passed = 0;
let failed = 0;
let skipped = 0;

/** A check of the sources counts as one test. */
function check(name, command, args, cwd = root) {
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });
  const ok = done.status === 0;
  if (ok) passed++;
  else failed++;
  say(`${ok ? 'ok    ' : 'FAILED'} ${name}`);
  if (!ok) process.stdout.write(`${done.stdout ?? ''}${done.stderr ?? ''}${done.error ?? ''}\n`);
}

// Without the host layer its tests are skipped; that it could not be built is told as a failure.
check('native/host is built', process.execPath, [join(root, 'scripts', 'build-native.mjs'), 'host']);
// As are those of microVMs without the agent and its kernel, which takes minutes the first time.
check('native/agent is built', process.execPath, [join(root, 'scripts', 'build-native.mjs'), 'agent']);
buildKernel();

/** Where it cannot be had, such as off Debian, what needs it is skipped with that reason. */
function buildKernel() {
  const { status } = spawnSync(process.execPath, [join(root, 'scripts', 'build-native.mjs'), 'kernel'], {
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) say('there is no kernel for microVMs; see above');
}

function checkSources() {
  const bin = (name) => join(root, 'node_modules', '.bin', name);
  const native = join(root, 'native', 'wasm');
  check('types (tsc)', bin('tsc'), ['--noEmit', '-p', 'tsconfig.json']);
  check('lint, format and the import table (biome)', bin('biome'), ['check', '.']);
  check('rustfmt', 'cargo', ['fmt', '--check'], native);
  const buildNative = join(root, 'scripts', 'build-native.mjs');
  check('clippy', process.execPath, [buildNative, '--clippy']);
  check('unit tests of native/wasm (cargo test)', process.execPath, [buildNative, '--test']);
  const buildPrograms = join(root, 'scripts', 'build-programs.mjs');
  for (const name of ['unpack', 'delta'])
    check(`rustfmt of native/${name}`, 'cargo', ['fmt', '--check'], join(root, 'native', name));
  check('clippy of native/unpack and native/delta', process.execPath, [buildPrograms, '--clippy']);
  check('unit tests of native/unpack and native/delta (cargo test)', process.execPath, [buildPrograms, '--test']);
  check('rustfmt of native/agent', 'cargo', ['fmt', '--check'], join(root, 'native', 'agent'));
  check('clippy of native/agent', process.execPath, [buildNative, 'agent', '--clippy']);
  check('unit tests of native/agent (cargo test)', process.execPath, [buildNative, 'agent', '--test']);
}

function testFiles() {
  const files = readdirSync(join(root, 'test'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length));
  const wanted = patterns.length === 0 ? files : files.filter((file) => patterns.some((each) => file.includes(each)));
  return wanted.sort();
}

/** Runs Node.js in a process of its own, so that a leaked handle ends that one alone. */
function runNode(args, timeoutMs) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        output += data;
      });
    }
    const timer = setTimeout(() => {
      output += '\nthis took too long and was ended\n';
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has just ended by itself.
      }
    }, timeoutMs);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

const reasons = [];

function add(found) {
  passed += found.passed;
  failed += found.failed;
  skipped += found.skipped;
  reasons.push(...found.reasons);
}

/** Some of the files once more, in a machine with cgroup v2 alone. */
async function runInMachine() {
  const { code, output } = await runNode([join('scripts', 'test-v2.mjs')], MACHINE_TIMEOUT_MS);
  const found = readCounts(output) ?? { passed: 0, failed: 1, skipped: 0, reasons: [] };
  add(code !== 0 && found.failed === 0 ? { ...found, failed: 1 } : found);
  process.stdout.write(code === 0 ? output.replace(/^(?!skerry: ).*\n/gm, '') : output);
}

if (patterns.length === 0) checkSources();
for (const file of testFiles()) {
  const started = Date.now();
  const { code, output } = await runNode(['--import', 'tsx', file], FILE_TIMEOUT_MS);
  const found = summaryOf(output, code === 0);
  add(found);
  const ok = found.failed === 0;
  say(`${ok ? 'ok    ' : 'FAILED'} ${file} (${found.passed} passed, ${((Date.now() - started) / 1000).toFixed(1)} s)`);
  if (!ok) process.stdout.write(`${output}\n`);
}
if (patterns.length === 0) await runInMachine();
for (const reason of reasons) process.stdout.write(`${reason}\n`);
process.stdout.write(countsLine({ passed, failed, skipped }));
process.exit(failed === 0 && passed > 0 ? 0 : 1);
