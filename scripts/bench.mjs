// `npm run bench -- [group...]`: installs the peers that are missing, then runs bench/main.ts with the given arguments.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fail, root, run, say, setup } from './setup.mjs';

/** The same version that native/wasm is built on, so that the engine is the same on both sides. */
function wasmtimeVersion() {
  const tree = spawnSync('cargo', ['metadata', '--format-version=1', '--locked'], {
    cwd: join(root, 'native', 'wasm'),
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
  });
  if (tree.status !== 0) fail('the benchmark needs Rust: install it with rustup [RUST_MISSING]');
  return JSON.parse(tree.stdout).packages.find((each) => each.name === 'wasmtime').version;
}

const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skerry', 'peers');

function installWasmtime() {
  const version = wasmtimeVersion();
  const binary = join(folder, 'bin', 'wasmtime');
  const have = existsSync(binary) ? spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout : '';
  if (have.includes(version)) return;
  say(`installing wasmtime-cli ${version} to compare with (once; about ten minutes)`);
  run('cargo', ['install', 'wasmtime-cli', '--version', version, '--locked', '--root', folder]);
}

/** It sends at a rate of its own, whatever is answered. */
function installVegeta() {
  if (existsSync(join(folder, 'bin', 'vegeta'))) return;
  if (spawnSync('go', ['version']).status !== 0) fail('the benchmark needs Go, to install vegeta with [GO_MISSING]');
  say('installing vegeta (once; about half a minute)');
  const env = { ...process.env, GOBIN: join(folder, 'bin') };
  run('go', ['install', 'github.com/tsenart/vegeta/v12@v12.13.0'], { env });
}

function installWrk() {
  if (spawnSync('wrk', ['--version']).error === undefined) return;
  if (process.getuid?.() !== 0) fail('the benchmark needs wrk: install it with your package manager [WRK_MISSING]');
  say('installing wrk');
  run('apt-get', ['update', '-qq']);
  run('apt-get', ['install', '-y', '-qq', 'wrk']);
}

await setup({ development: true });
run(process.execPath, [join(root, 'scripts', 'build-native.mjs'), 'wasm']);
installWrk();
installWasmtime();
installVegeta();
run(process.execPath, ['--import', 'tsx', join(root, 'bench', 'main.ts'), ...process.argv.slice(2)], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
