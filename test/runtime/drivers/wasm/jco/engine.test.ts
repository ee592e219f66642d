import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../../../errors/project-root.ts';
import { openJcoEngine } from '../../../../../runtime/drivers/wasm/jco/index.ts';
import { makeExchange } from '../../../../support/exchange.ts';
import { guest, guestComponent } from '../../../../support/guests.ts';
import { type Bench, failure, memoryBytes, openBench, residueGuest } from './wat-guests.ts';

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

test('a client that leaves a loop ends it', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'));
  const { exchange, abort } = makeExchange({ target: '/loop', deadlineMs: 600_000 });
  const handled = fn.handle(exchange);
  abort();
  await handled;
  while (fn.stats().inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
  await fn.close();
});

test('more sleepers than workers all wake', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'));
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask(fn, '/sleep/20')));
  assert.equal(new Set(answers), new Set(['slept']));
  await fn.close();
});

test('a status that is not final, and headers beyond all measure, are bad answers', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'));
  assert.is((await failure(fn, '/status/150')).code, 'FUNCTION_BAD_ANSWER');
  assert.is((await failure(fn, '/huge-header')).code, 'FUNCTION_BAD_ANSWER');
  await fn.close();
});

test('compiled code is found again, and forgotten on demand', async ({ bench }) => {
  const component = await guestComponent('behaviours');
  await bench.engine.compile(component);
  const folder = join(bench.folder, 'cache');
  const file = `${component.digest.replace(':', '-')}.jco`;
  const { mtimeMs } = await stat(join(folder, file));
  await bench.engine.compile(component);
  assert.is((await stat(join(folder, file))).mtimeMs, mtimeMs);
  await bench.engine.forget(component.digest);
  assert.not((await readdir(folder)).includes(file));
});

test('code in the cache that was tampered with is made again, with a warning', async ({ bench }) => {
  const component = await guestComponent('behaviours');
  await bench.engine.compile(component);
  const path = join(bench.folder, 'cache', `${component.digest.replace(':', '-')}.jco`);
  const whole = await readFile(path);
  const at = whole.indexOf('return instantiate;');
  assert.ok(at > 0);
  whole.write('throw "tampered"   ', at);
  await writeFile(path, whole);
  const warned = bench.warnings.length;
  const fn = await bench.load(component);
  assert.is(await ask(fn, '/hello'), 'hello');
  assert.is(bench.warnings.length, warned + 1);
  await fn.close();
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
