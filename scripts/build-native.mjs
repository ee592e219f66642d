// Builds the native parts: the Wasm engine (native/wasm, with Rust) and the host layer (native/host, with a C++ compiler).
// Nothing happens for a part whose sources are those of its last build, and one that cannot be built does not keep the
// other from it. `wasm` or `host` as an argument builds that part alone. With --clippy the Wasm engine is linted instead,
// with --test its unit tests are run.
import { Stopped } from './native/common.mjs';
import * as host from './native/host.mjs';
import * as wasm from './native/wasm.mjs';

const args = process.argv.slice(2);
const wanted = args.filter((arg) => !arg.startsWith('--'));
const parts = { host, wasm };

function works() {
  if (args.includes('--test')) return [wasm.test];
  if (args.includes('--clippy')) return [wasm.clippy];
  // The host layer first: it takes seconds, the engine minutes.
  const names = Object.keys(parts).filter((name) => wanted.length === 0 || wanted.includes(name));
  return names.map((name) => parts[name].build);
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
