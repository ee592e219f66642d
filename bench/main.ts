/** The comparisons of `npm run bench`: peers in turn, several rounds, medians and ratios. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundleSource } from '../cli/bundle.ts';
import { projectRoot } from '../errors/project-root.ts';
import { buildJavaScript } from '../images/build/javascript/index.ts';
import { openJcoEngine } from '../runtime/drivers/wasm/jco/index.ts';
import { openWasmtimeEngine, wasmtimeAvailable } from '../runtime/drivers/wasm/wasmtime/index.ts';
import { guest } from '../test/support/guests.ts';
import { measureDeadlines } from './deadline.ts';
import { measureInnerLoop, type Steps } from './inner-loop.ts';
import { drive, type Load, median } from './load.ts';
import { bareHono, jcoServe, type Peer, skerry, TUNED, wasmtimeServe, workerd } from './peers.ts';

interface Comparison {
  readonly title: string;
  /** The first is the one whose ratio to each other is printed. */
  readonly peers: readonly Peer[];
}

interface Result {
  readonly name: string;
  readonly loads: Load[];
}

async function measure(peers: readonly Peer[], rounds: number, seconds: number): Promise<Result[]> {
  const results = peers.map((peer) => ({ name: peer.name, loads: [] as Load[] }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, peer] of peers.entries()) {
      const running = await peer.start();
      try {
        await drive(running.url, 1);
        results[i]?.loads.push(await drive(running.url, seconds));
      } finally {
        await running.stop();
      }
    }
  }
  return results;
}

function print(title: string, results: readonly Result[]): void {
  const rates = results.map((result) => median(result.loads.map((load) => load.requestsPerSecond)));
  console.log(`\n${title}`);
  for (const [i, result] of results.entries()) {
    const rate = Math.round(rates[i] as number);
    const p50 = median(result.loads.map((load) => load.p50Ms)).toFixed(2);
    const p99 = median(result.loads.map((load) => load.p99Ms)).toFixed(2);
    const errors = result.loads.reduce((sum, load) => sum + load.errors, 0);
    const ratios = result.loads.map((load, round) => {
      const ours = results[0]?.loads[round]?.requestsPerSecond ?? Number.NaN;
      return ours / load.requestsPerSecond;
    });
    const spread = `${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}`;
    const ratio = i === 0 ? '' : `  ${median(ratios).toFixed(2)}x (${spread})`;
    const failed = errors > 0 ? `  ${errors} ERRORS` : '';
    console.log(`  ${String(rate).padStart(7)} req/s  p50 ${p50} ms  p99 ${p99} ms  ${result.name}${ratio}${failed}`);
  }
}

async function javaScriptHello(folder: string): Promise<string> {
  const { source } = await bundleSource(join(projectRoot, 'examples', 'hello', 'index.ts'));
  const file = join(folder, 'hello-js.wasm');
  await writeFile(file, await buildJavaScript(source, { cacheFolder: join(folder, 'build') }));
  return file;
}

function onWasmtime(what: string, component: string, path: string, other: Peer): Comparison {
  return {
    title: `${what}, a fresh instance for each request`,
    peers: [
      skerry('Skerry, wasmtime engine, whole gateway', 'wasmtime', component, path),
      wasmtimeServe('wasmtime serve as it comes', component, path),
      wasmtimeServe('wasmtime serve, pool tuned the same', component, path, TUNED),
      other,
    ],
  };
}

function comparisons(rust: string, js: string): Comparison[] {
  return [
    onWasmtime('Rust component', rust, '/hello', bareHono()),
    onWasmtime('JavaScript component (13 MB)', js, '/', workerd()),
    {
      title: 'Rust component on the jco engine, a fresh instance for each request',
      peers: [
        skerry('Skerry, jco engine, whole gateway', 'jco', rust, '/hello'),
        jcoServe('jco serve, requests isolated', rust, '/hello', ['--isolate-requests', 'instance']),
        jcoServe('jco serve as it comes (one instance for all requests)', rust, '/hello'),
      ],
    },
  ];
}

/** What is measured on each engine by itself, beside no peer. */
const alone = {
  async 'A loop past its deadline'(open: typeof openJcoEngine): Promise<string[]> {
    const { answered, stopped, others } = await measureDeadlines(open, 20);
    const line = (what: string, [middle, worst]: readonly [number, number]) =>
      `${what}: median ${middle.toFixed(1)} ms, worst ${worst.toFixed(1)} ms`;
    return [
      line('answered with 504 after the deadline', answered),
      line('its core given back after the deadline', stopped),
      line('another function meanwhile', others),
    ];
  },
  async 'A changed JavaScript function'(open: typeof openJcoEngine): Promise<string[]> {
    const { first, next } = await measureInnerLoop(open, 5);
    const line = (what: string, steps: Steps) => {
      const total = [...steps.values()].reduce((sum, ms) => sum + ms, 0);
      return `${what}: ${total.toFixed(0)} ms (${[...steps].map(([step, ms]) => `${step} ${ms.toFixed(0)}`).join(', ')})`;
    };
    return [line('the first', first), line('each next', next)];
  },
};

async function measureAlone(only: string): Promise<void> {
  for (const [title, measured] of Object.entries(alone)) {
    if (!title.includes(only)) continue;
    console.log(`\n${title}`);
    for (const line of await measured(openJcoEngine)) console.log(`  jco: ${line}`);
    if (!wasmtimeAvailable().available) continue;
    for (const line of await measured(openWasmtimeEngine)) console.log(`  wasmtime: ${line}`);
  }
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
  },
});
const folder = await mkdtemp(join(tmpdir(), 'skerry-bench-'));
try {
  const manifest = JSON.parse(await readFile(join(projectRoot, 'package.json'), 'utf8'));
  console.log(`Skerry ${manifest.version}, Node ${process.versions.node}, Linux ${release()}, ${cpus().length} cores`);
  console.log(
    `wrk -t1 -c32, ${values.rounds} rounds of ${values.seconds} s in turn; median, ratio of the first to each`,
  );
  const rust = await guest('behaviours');
  const js = await javaScriptHello(folder);
  await measureAlone(values.only);
  for (const { title, peers } of comparisons(rust, js)) {
    if (!title.includes(values.only)) continue;
    print(title, await measure(peers, Number(values.rounds), Number(values.seconds)));
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
