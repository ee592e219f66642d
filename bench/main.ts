/** `npm run bench`: every figure that Skerry promises, peers side by side, and a table of what holds. */
import { readFile } from 'node:fs/promises';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundleSource } from '../cli/bundle.ts';
import { projectRoot } from '../errors/project-root.ts';
import { guest } from '../test/support/guests.ts';
import { javaScriptComponent } from '../test/support/javascript.ts';
import { containers } from './groups/containers.ts';
import { deadline } from './groups/deadline.ts';
import { front } from './groups/front.ts';
import { halfLoad } from './groups/half-load.ts';
import { innerLoop } from './groups/inner-loop.ts';
import { javaScriptHello } from './groups/javascript-hello.ts';
import { jco } from './groups/jco.ts';
import { manyFunctions } from './groups/many-functions.ts';
import { memory } from './groups/memory.ts';
import { microvms } from './groups/microvms.ts';
import { registry } from './groups/registry.ts';
import { restart } from './groups/restart.ts';
import { runQueue } from './groups/run-queue.ts';
import { rustHello } from './groups/rust-hello.ts';
import { rustReuse } from './groups/rust-reuse.ts';
import { scheduler } from './groups/scheduler.ts';
import { CONNECTIONS } from './measure/wrk.ts';
import { type Context, type Group, printTable, type Row } from './row.ts';

const groups: readonly Group[] = [
  rustHello,
  rustReuse,
  javaScriptHello,
  jco,
  halfLoad,
  restart,
  memory,
  manyFunctions,
  front,
  deadline,
  runQueue,
  innerLoop,
  containers,
  microvms,
  registry,
  scheduler,
];

const { values, positionals } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, seconds: { type: 'string', default: '4' } },
  allowPositionals: true,
});
const names = groups.map(({ name }) => name);
const unknown = positionals.find((name) => !names.includes(name));
if (unknown !== undefined) {
  console.error(`there is no group ${unknown}; there are: ${names.join(', ')} [USAGE]`);
  process.exit(2);
}
// A signal ends the servers too: what is told at the exit kills them.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

// It would have wasmtime unwind a stack for each instance that is taken down, which the node sees to for itself.
delete process.env.RUST_BACKTRACE;
const print = (line: string) => console.log(line);
const context: Context = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  rust: () => guest('behaviours'),
  javaScript: async () => {
    const { source } = await bundleSource(join(projectRoot, 'examples', 'hello', 'index.ts'));
    return javaScriptComponent(source);
  },
  print,
};
const { version } = JSON.parse(await readFile(join(projectRoot, 'package.json'), 'utf8'));
const machine = `Linux ${release()}, ${cpus().length} cores, load average ${loadavg()[0]?.toFixed(1)}`;
print(`Skerry ${version}, Node ${process.versions.node}, ${machine}, ${new Date().toISOString().slice(0, 10)}`);
print(
  `wrk -t1 -c${CONNECTIONS}, ${values.rounds} rounds of ${values.seconds} s in turn: median, ratio (spread of the rounds)`,
);
const rows: Row[] = [];
for (const group of groups.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  print(`\n${group.title}`);
  rows.push(...(await group.run(context)));
}
print(`\nload average at the end ${loadavg()[0]?.toFixed(1)}\n`);
printTable(rows, print);
process.exit(0);
