// Builds the native parts: the Wasm engine (native/wasm, with Rust), the host layer (native/host, with a C++ compiler) and the
// agent of microVMs (native/agent, with Rust). Nothing happens for a part whose sources are those of its last build, and
// one that cannot be built does not keep the others from it. Their names as arguments build those alone; `kernel`, which
// takes longest and only microVMs need, is built where it is named. With --clippy parts in Rust are linted instead (`wasm`
// when none is named), with --test their unit tests are run.
import * as agent from './native/agent.mjs';
import { Stopped } from './native/common.mjs';
import * as host from './native/host.mjs';
import * as kernel from './native/kernel.mjs';
import * as wasm from './native/wasm.mjs';

const args = process.argv.slice(2);
const wanted = args.filter((arg) => !arg.startsWith('--'));
/** Those that take seconds first. */
const parts = { host, agent, wasm, kernel };
const ONLY_BY_NAME = ['kernel'];

function works() {
  const rust = wanted.includes('agent') ? agent : wasm;
  if (args.includes('--test')) return [rust.test];
  if (args.includes('--clippy')) return [rust.clippy];
  const isWanted = (name) => (wanted.length === 0 ? !ONLY_BY_NAME.includes(name) : wanted.includes(name));
  return Object.keys(parts)
    .filter(isWanted)
    .map((name) => parts[name].build);
}

for (const work of works()) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
