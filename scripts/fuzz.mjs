// `npm run fuzz -- [target] [seconds]`: fuzzes the targets of native/wasm/fuzz with cargo-fuzz, one after the other, each
// for some seconds (60). What it finds on its way is kept in the user's cache for the next time; an input that breaks a
// promise is left there too, and its path is printed: put it into native/wasm/fuzz/corpus/ once it is mended.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fail, root, run, say } from './setup.mjs';
import { stageFuzz } from './stage-crate.mjs';

/** Bytes of the largest input: enough for a component with a bit of everything, and compiled in milliseconds. */
const MAX_BYTES = 16384;
/** Seconds that one input may take. */
const INPUT_TIMEOUT_S = 30;
/** MiB of memory of the fuzzer; it is mostly the compiler's. */
const MEMORY_MIB = 4096;

const crate = join(root, 'native', 'wasm');
const targets = readdirSync(join(crate, 'fuzz', 'fuzz_targets')).map((file) => file.replace('.rs', ''));
const args = process.argv.slice(2);
const wanted = args.filter((arg) => !/^\d+$/.test(arg));
const seconds = Number(args.find((arg) => /^\d+$/.test(arg)) ?? 60);
const unknown = wanted.find((name) => !targets.includes(name));
if (unknown !== undefined) fail(`there is no target ${unknown}; there are: ${targets.join(', ')} [USAGE]`);

if (spawnSync('cargo', ['fuzz', '--version']).status !== 0) {
  say('installing cargo-fuzz (once; about two minutes)');
  run('cargo', ['install', 'cargo-fuzz', '--locked']);
}

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'skerry', 'fuzz');
const target = join(cache, 'target');
mkdirSync(target, { recursive: true });
const staged = stageFuzz(crate, target);
let broken = false;
for (const name of wanted.length > 0 ? wanted : targets) {
  const found = join(cache, 'corpus', name);
  const artifacts = join(cache, 'artifacts', name);
  for (const folder of [found, artifacts]) mkdirSync(folder, { recursive: true });
  say(`fuzzing ${name} for ${seconds} s`);
  // Without a sanitizer: it needs no nightly compiler, and what is looked for is panics and promises that do not hold.
  const options = ['--fuzz-dir', staged, '--target-dir', target, '--sanitizer', 'none'];
  const limits = [`-max_total_time=${seconds}`, `-max_len=${MAX_BYTES}`, `-timeout=${INPUT_TIMEOUT_S}`];
  const more = [`-rss_limit_mb=${MEMORY_MIB}`, `-artifact_prefix=${artifacts}/`, '-print_final_stats=1'];
  const corpora = [found, join(crate, 'fuzz', 'corpus', name)];
  const { status } = spawnSync('cargo', ['fuzz', 'run', ...options, name, ...corpora, '--', ...limits, ...more], {
    cwd: crate,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  say(`${name}: ${status === 0 ? 'nothing was found' : `FAILED; see above, and ${artifacts}`}`);
  if (status !== 0) broken = true;
}
process.exit(broken ? 1 : 0);
