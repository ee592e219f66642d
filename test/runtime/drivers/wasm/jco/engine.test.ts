import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../../../errors/project-root.ts';
import { openJcoEngine } from '../../../../../runtime/drivers/wasm/jco/index.ts';
import { makeExchange } from '../../../../support/exchange.ts';
import { guest, guestComponent } from '../../../../support/guests.ts';
import { type Bench, failure, memoryBytes, openBench, plainGuest, residueGuest } from './wat-guests.ts';

const test = suite<{ bench: Bench }>('jco: the engine');

test.before(async (context) => {
  context.bench = await openBench();
});
test.after(({ bench }) => bench.close());

async function ask(fn: { handle(exchange: never): Promise<void> }, target: string): Promise<string> {
  const { exchange, answer } = makeExchange({ target });
  await fn.handle(exchange as never);
  return (await answer).body.toString();
}

test('with reuse, one instance serves so many requests and then a fresh one follows', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'), 3);
  const counts: string[] = [];
  for (let i = 0; i < 7; i++) counts.push(await ask(fn, '/count'));
  assert.equal(counts, ['1', '2', '3', '1', '2', '3', '1']);
  await fn.close();
});

test('with reuse, an instance that failed serves no other request', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'), 100);
  assert.is(await ask(fn, '/count'), '1');
  await failure(fn, '/trap');
  assert.is(await ask(fn, '/count'), '1');
  await fn.close();
});

test('with reuse, functions in the same threads keep their own environment', async ({ bench }) => {
  const component = await guestComponent('behaviours');
  const one = await bench.load(component, 100, { NAME: 'one' });
  const two = await bench.load(component, 100, { NAME: 'two' });
  for (let i = 0; i < 6; i++) {
    assert.is(JSON.parse(await ask(one, '/env')).env.NAME, 'one');
    assert.is(JSON.parse(await ask(two, '/env')).env.NAME, 'two');
  }
  await Promise.all([one.close(), two.close()]);
});

test('the memory of an instance holds nothing of the one before it', async ({ bench }) => {
  const fn = await bench.load(await residueGuest());
  for (let i = 0; i < 6; i++) assert.is((await failure(fn)).code, 'FUNCTION_NO_ANSWER');
  await fn.close();
});

test('constants that are sums are taken, as in components whose parts are linked dynamically', async ({ bench }) => {
  const sum = '(global $at i32 (i32.add (i32.const 20) (i32.const 2)))';
  const place = '(data (offset (i32.add (i32.const 11) (i32.const 11))) "x")';
  const check = '(if (i32.ne (i32.load8_u (global.get $at)) (i32.const 120)) (then unreachable))';
  const module = `(core module $m (memory 1) ${sum} ${place} (func (export "handle") (param i32 i32) ${check}))`;
  const fn = await bench.load(await bench.component(await plainGuest(module)));
  assert.is((await failure(fn)).code, 'FUNCTION_NO_ANSWER');
  await fn.close();
});

test('a table that cannot grow is told as a matter of memory', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('grow-tables'));
  assert.is((await failure(fn)).code, 'FUNCTION_MEMORY');
  await fn.close();
});

test('a client that leaves a loop ends it', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'));
  const { exchange, abort } = makeExchange({ target: '/loop', deadlineMs: 600_000 });
  const handled = fn.handle(exchange);
  abort();
  await handled;
  while (fn.stats().inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
  await fn.close();
});

/** Niceness of every thread of this process (proc(5): field 19 of stat). */
async function nicenesses(): Promise<number[]> {
  const threads = await readdir('/proc/self/task');
  const stats = await Promise.all(
    threads.map((thread) => readFile(`/proc/self/task/${thread}/stat`, 'utf8').catch(() => null)),
  );
  return stats.flatMap((text) => (text === null ? [] : [Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[16])]));
}

test('the thread of a guest that has run for long lets others go first', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'));
  const looping = makeExchange({ target: '/loop', deadlineMs: 60_000 });
  const over = fn.handle(looping.exchange);
  const usual = getPriority();
  const lowered = async () => (await nicenesses()).filter((nice) => nice > usual).length;
  while ((await lowered()) === 0) assert.is(await ask(fn, '/hello'), 'hello');
  assert.is(await lowered(), 1, 'and no other one');
  looping.abort();
  await over;
  await fn.close();
});

test('more sleepers than workers all wake', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'));
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask(fn, '/sleep/20')));
  assert.equal(new Set(answers), new Set(['slept']));
  await fn.close();
});

/** The file of the cache that a component uses. */
async function cacheFile(folder: string, digest: string): Promise<string> {
  return join(folder, await readFile(join(folder, `${digest.replace(':', '-')}.use`), 'utf8'));
}

test('compiled code is found again, and forgotten on demand', async ({ bench }) => {
  const component = await guestComponent('behaviours');
  await bench.engine.compile(component);
  const file = await cacheFile(join(bench.folder, 'cache'), component.digest);
  const { mtimeMs } = await stat(file);
  const other = await bench.another();
  await other.compile(component);
  await other.close();
  assert.is((await stat(file)).mtimeMs, mtimeMs);
  await bench.engine.forget(component.digest);
  assert.not(existsSync(file));
});

test('code in the cache that was tampered with is made again, with a warning', async ({ bench }) => {
  const component = await guestComponent('behaviours');
  const engine = await bench.another();
  await engine.compile(component);
  const path = await cacheFile(join(bench.folder, 'cache'), component.digest);
  const whole = await readFile(path);
  const at = whole.indexOf('return instantiate;');
  assert.ok(at > 0);
  whole.write('throw "tampered"   ', at);
  await writeFile(path, whole);
  await engine.close();
  const warned = bench.warnings.length;
  const next = await bench.another();
  const fn = await bench.load(component, 1, {}, next);
  assert.is(await ask(fn, '/hello'), 'hello');
  assert.is(bench.warnings.length, warned + 1);
  await next.close();
});

/** Answers nothing; traps unless its memory holds the word that it was made with, and has so many pages. */
const wordGuest = (word: string, pages = 1, traps = 'unreachable') =>
  plainGuest(`(core module $m (memory ${pages}) (data (i32.const 4) "${word}")
    (func (export "handle") (param i32 i32)
      (if (i32.ne (i32.load8_u (i32.const 4)) (i32.const 97)) (then ${traps}))
      (if (i32.ne (memory.size) (i32.const 2)) (then unreachable))))`);

test('components that differ in their data alone share their code, and no data', async ({ bench }) => {
  const [good, wrong, small] = await Promise.all([wordGuest('a', 2), wordGuest('b', 2), wordGuest('a', 1)]);
  const files = await Promise.all([good, wrong, small].map((bytes) => bench.component(bytes)));
  const before = (await readdir(join(bench.folder, 'cache'))).filter((name) => name.endsWith('.jco')).length;
  for (const [file, code] of [
    [files[0]!, 'FUNCTION_NO_ANSWER'],
    [files[1]!, 'FUNCTION_TRAPPED'],
    [files[2]!, 'FUNCTION_TRAPPED'],
    [files[0]!, 'FUNCTION_NO_ANSWER'],
  ] as const) {
    const fn = await bench.load(file);
    assert.is((await failure(fn)).code, code);
    await fn.close();
  }
  const after = (await readdir(join(bench.folder, 'cache'))).filter((name) => name.endsWith('.jco')).length;
  assert.is(after, before + 1);
});

test('components that differ in their code do not share it', async ({ bench }) => {
  const fn = await bench.load(await bench.component(await wordGuest('b', 2, 'nop')));
  assert.is((await failure(fn)).code, 'FUNCTION_NO_ANSWER');
  await fn.close();
});

test('data that does not fit into the memory fails alone, also in code that was seen before', async ({ bench }) => {
  const text = (at: number) => `(core module $m (memory 1) (data (i32.const ${at}) "word")
    (func (export "handle") (param i32 i32) (drop (memory.size))))`;
  for (const [at, code] of [
    [0, 'FUNCTION_NO_ANSWER'],
    [65_533, 'FUNCTION_TRAPPED'],
    [0, 'FUNCTION_NO_ANSWER'],
  ] as const) {
    const fn = await bench.load(await bench.component(await plainGuest(text(at))));
    assert.is((await failure(fn)).code, code, `${at}`);
    await fn.close();
  }
});

test('its version names jco, and its folder is made with access for its owner alone', async ({ bench }) => {
  const cacheDir = join(bench.folder, 'deep', 'cache');
  await mkdir(join(bench.folder, 'deep'));
  const engine = await openJcoEngine({ cacheDir, cacheKey: Buffer.alloc(32), warn: () => {} });
  assert.match(engine.version, /^jco \d+\.\d+\.\d+$/);
  assert.is((await stat(cacheDir)).mode & 0o777, 0o700);
  await engine.close();
});

test('an idle engine does not keep the process alive, closed or not', async ({ bench }) => {
  const path = await guest('behaviours');
  const program = `
    import { openJcoEngine } from './runtime/drivers/wasm/jco/index.ts';
    import { makeExchange } from './test/support/exchange.ts';
    import { componentFile } from './test/support/guests.ts';
    import { noServices } from './test/support/services.ts';
    const options = { cacheDir: ${JSON.stringify(join(bench.folder, 'cache'))}, cacheKey: Buffer.alloc(32, 1), warn() {} };
    const engine = await openJcoEngine(options);
    const limits = { memoryBytes: ${memoryBytes} };
    const settings = { label: 'a', limits, env: {}, ...noServices(), reuse: 1, output() {} };
    const fn = await engine.load(await componentFile(${JSON.stringify(path)}), settings);
    const { exchange, answer } = makeExchange({ target: '/hello' });
    await fn.handle(exchange);
    console.log((await answer).body.toString());`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    cwd: projectRoot,
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (data) => {
    said += data;
  });
  // A process that is kept alive never closes: then this test hangs, and the run ends by its outer timeout.
  const status = await new Promise((resolve) => child.once('close', resolve));
  assert.is(status, 0);
  assert.is(said, 'hello\n');
});

test.run();
