// Sets up what is missing: npm packages, dist/, the `skerry` command in node_modules/.bin.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
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

/** Installs the packages of the lock file, unless that was done already. */
function installPackages() {
  const stamp = join(root, 'node_modules', '.skerry-stamp');
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  say('installing npm packages (once; about half a minute)');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(stamp, lock);
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

export async function setup() {
  checkNode();
  installPackages();
  linkCommand();
  const { buildTs } = await import('./build-ts.mjs');
  if (await buildTs()) say('compiled the sources');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await setup();
