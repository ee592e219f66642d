// Sets up what is missing: npm packages, dist/, the `skerry` command in node_modules/.bin.
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
const MIN_NODE = [20, 18, 1];

export function say(line) {
  process.stderr.write(`skerry: ${line}\n`);
}

export function fail(line) {
  say(line);
  process.exit(1);
}

function checkNode() {
  const have = process.versions.node.split('.').map(Number);
  const older = MIN_NODE.findIndex((part, i) => have[i] !== part);
  if (older >= 0 && have[older] < MIN_NODE[older]) {
    fail(`Node.js ${process.versions.node} is too old; install ${MIN_NODE.join('.')} or newer [NODE_TOO_OLD]`);
  }
}

/** Runs a command with its output shown; ends this process with its status when it fails. */
export function run(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options });
  if (done.error) fail(`${command} cannot be run (${done.error.code}); install it and try again [SETUP_FAILED]`);
  if (done.status !== 0) {
    fail(`\`${[command, ...args].join(' ')}\` failed (status ${done.status}); see above [SETUP_FAILED]`);
  }
}

/** True when node_modules has these packages in the versions of the lock file. */
function installed(names) {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return names.every((name) => {
    const manifest = join(root, 'node_modules', name, 'package.json');
    if (!existsSync(manifest)) return false;
    return JSON.parse(readFileSync(manifest, 'utf8')).version === lock.packages[`node_modules/${name}`]?.version;
  });
}

/** Installs the packages of the lock file, unless they are there. `development`: also what only tests need. */
function installPackages(development) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wanted = { ...manifest.dependencies, ...(development ? manifest.devDependencies : {}) };
  if (installed(Object.keys(wanted))) return;
  say('installing npm packages (once; about half a minute)');
  const omit = development ? [] : ['--omit=dev'];
  // Not `npm ci`: it refuses a lock file without the packages of other platforms, which a registry may not serve.
  run('npm', ['install', '--no-save', ...omit, '--no-audit', '--no-fund', '--loglevel=error']);
}

/** So that `npx skerry` finds the command in this folder. */
function linkCommand() {
  const link = join(root, 'node_modules', '.bin', 'skerry');
  try {
    lstatSync(link);
  } catch {
    symlinkSync('../../bin/skerry.js', link);
  }
}

/** `development`: for tests and benchmarks, not only to run a node. */
export async function setup({ development = false } = {}) {
  checkNode();
  installPackages(development);
  linkCommand();
  const { buildTs } = await import('./build-ts.mjs');
  if (await buildTs()) say('compiled the sources');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await setup();
