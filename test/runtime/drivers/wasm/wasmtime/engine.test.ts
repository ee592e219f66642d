import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../../../errors/project-root.ts';
import { openWasmtimeEngine, wasmtimeAvailable } from '../../../../../runtime/drivers/wasm/wasmtime/index.ts';
import { makeExchange } from '../../../../support/exchange.ts';
import { ask, openBench } from '../conformance/bench.ts';

const bench = openBench(openWasmtimeEngine);
const test = bench.suite('the wasmtime engine');

test('it says which wasmtime it is', () => {
  assert.match(bench.engine.version, /^wasmtime \d+\.\d+\.\d+$/);
  const { available, version } = wasmtimeAvailable();
  assert.ok(available);
  assert.is(version, bench.engine.version);
});

test('a trap is in the log of the function with the names of what called what', async () => {
  const { fn, said } = await bench.load('behaviours');
  const { exchange } = makeExchange({ target: '/trap' });
  await fn.handle(exchange).catch(() => {});
  const piece = await said('trap: ');
  const text = Buffer.from(piece.data).toString();
  assert.is(piece.stream, 'stderr');
  assert.is(piece.requestId, exchange.id);
  assert.match(text, /unreachable/);
  assert.match(text, /behaviours::faults::trap/);
  await fn.close();
});

test('a request that no component could be given is refused with a status of 400', async () => {
  const { fn } = await bench.load('behaviours');
  for (const init of [
    { target: '/a b' },
    { target: '/a#b' },
    { headers: ['x-a', '1\nx-b: 2'] },
    { headers: ['x a', '1'] },
    { method: 'G ET' },
    { authority: 'two hosts' },
  ]) {
    const { exchange } = makeExchange({ target: '/hello', ...init });
    const error = await fn.handle(exchange).then(
      () => null,
      (thrown) => thrown,
    );
    assert.is(error?.code, 'REQUEST_NOT_EXPRESSIBLE', JSON.stringify(init));
    assert.is(error.status, 400);
  }
  assert.is(fn.stats().inFlight, 0);
  assert.is((await ask(fn, { target: '/hello' })).status, 200);
  await fn.close();
});

test('the answer to HEAD has the headers and no body', async () => {
  const { fn } = await bench.load('behaviours');
  const answer = await ask(fn, { target: '/short', method: 'HEAD' });
  assert.is(answer.body.length, 0);
  assert.equal(answer.headers.slice(0, 2), ['content-length', '100']);
  await fn.close();
});

test('an informational status is not an answer', async () => {
  const { fn } = await bench.load('behaviours');
  const { exchange } = makeExchange({ target: '/status/103' });
  const error = await fn.handle(exchange).catch((thrown) => thrown);
  assert.is(error?.code, 'FUNCTION_BAD_ANSWER');
  await fn.close();
});

/** Runs a script in a process of its own. `addressSpaceKiB` limits its addresses. */
async function runNode(
  script: string,
  addressSpaceKiB?: number,
): Promise<{ code: number | null; signal: string | null; output: string }> {
  const cacheDir = await mkdtemp(join(tmpdir(), 'skerry-exit-'));
  const prelude = `
    import { openWasmtimeEngine } from './runtime/drivers/wasm/wasmtime/index.ts';
    import { guestComponent } from './test/support/guests.ts';
    import { makeExchange } from './test/support/exchange.ts';
    import { noServices } from './test/support/services.ts';
    const limits = { memoryBytes: 1 << 26, cpuMillicores: 500, timeoutMs: 1e4, startTimeoutMs: 1e4, concurrency: 64 };
    const options = { cacheDir: ${JSON.stringify(cacheDir)}, cacheKey: Buffer.alloc(32), warn: console.log };
    const engine = await openWasmtimeEngine(options);
    const settings = { label: 'f@1', limits, env: {}, ...noServices(), reuse: 1, output: () => {} };
    const fn = await engine.load(await guestComponent('behaviours'), settings);
  `;
  const limit = addressSpaceKiB === undefined ? '' : `ulimit -v ${addressSpaceKiB} && `;
  const command = `${limit}exec "$0" --import tsx --input-type=module -`;
  const child = spawn('/bin/sh', ['-c', command, process.execPath], { cwd: projectRoot });
  child.stdin.end(prelude + script);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data;
    });
  }
  const [code, signal] = await once(child, 'close');
  await rm(cacheDir, { recursive: true });
  return { code, signal, output };
}

const exits: [what: string, script: string][] = [
  ['the process ends by itself when the engine was closed', 'await engine.close();'],
  ['the process ends by itself when the engine is idle, closed or not', ''],
  [
    'the process waits for what is underway',
    `fn.handle(makeExchange({ target: '/sleep/50' }).exchange).then(() => console.log('waited'));
     process.on('exit', () => console.log('exit'));`,
  ],
  [
    'the process can exit while guests run',
    `for (let i = 0; i < 8; i++) fn.handle(makeExchange({ target: '/loop' }).exchange).catch(() => {});
     fn.handle(makeExchange({ target: '/hello' }).exchange).then(() => process.exit(0));`,
  ],
];
for (const [what, script] of exits) {
  test(what, async () => {
    const { code, signal, output } = await runNode(script);
    assert.is(code, 0, `code ${code}, signal ${signal}: ${output}`);
    if (script.includes('waited')) assert.match(output, /waited\nexit/);
  });
}

test('where addresses are short it serves without a pool, and says so', async () => {
  const script = `
    const { exchange, answer } = makeExchange({ target: '/hello' });
    await fn.handle(exchange);
    console.log('answer: ' + (await answer).body);
    const greedy = makeExchange({ target: '/alloc' });
    await fn.handle(greedy.exchange).catch((error) => console.log(error.code));
  `;
  // V8 itself reserves some 10 GB for each memory that tsx and undici have, so it must be more than that.
  const { code, output } = await runNode(script, 60_000_000);
  assert.is(code, 0, output || 'no output');
  assert.match(output, /without a pool/);
  assert.match(output, /answer: hello/);
  assert.match(output, /FUNCTION_MEMORY/);
});

test.run();
