import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TranspileCache } from '../../../../../runtime/drivers/wasm/jco/cache.ts';

const test = suite<{ folder: string; warnings: string[]; cache: TranspileCache }>('jco: the cache of transpiled code');
const secret = Buffer.alloc(32, 9);
const transpiled = {
  shared: true,
  glue: '(() => "ünïcode")()',
  modules: [
    { name: 'a.wasm', bytes: Buffer.from([0, 1, 2]), instances: 1, memory: null, place: null },
    { name: 'b.wasm', bytes: Buffer.alloc(5_000_000, 'x'), instances: 2, memory: { initial: 1, maximum: 3 }, place: 4 },
  ],
};

test.before.each(async (context) => {
  context.folder = await mkdtemp(join(tmpdir(), 'skerry-jco-cache-'));
  const warnings: string[] = [];
  context.warnings = warnings;
  context.cache = new TranspileCache(context.folder, secret, (message) => warnings.push(message));
  await context.cache.store('one.jco', 'key one', transpiled);
});
test.after.each(async ({ folder }) => rm(folder, { recursive: true }));

test('what was stored is loaded as it was', async ({ cache, warnings, folder }) => {
  const loaded = (await cache.load('one.jco', 'key one'))!;
  assert.is(loaded.glue, transpiled.glue);
  assert.equal(
    loaded.modules.map(({ name, bytes, instances }) => [
      name,
      Buffer.from(bytes).equals(bytes),
      bytes.length,
      instances,
    ]),
    [
      ['a.wasm', true, 3, 1],
      ['b.wasm', true, 5_000_000, 2],
    ],
  );
  assert.equal(loaded.modules[1]!.memory, { initial: 1, maximum: 3 });
  assert.is(loaded.modules[1]!.place, 4);
  assert.is(loaded.shared, true);
  assert.ok(Buffer.from(loaded.modules[1]!.bytes).equals(transpiled.modules[1]!.bytes));
  assert.equal(warnings, []);
  assert.equal(await readdir(folder), ['one.jco']);
});

test('what is not there is not loaded, without a word', async ({ cache, warnings }) => {
  assert.is(await cache.load('two.jco', 'key two'), null);
  assert.equal(warnings, []);
});

test('a file goes when the last component that uses it is forgotten', async ({ cache, folder }) => {
  await cache.store('two.jco', 'key two', transpiled);
  await cache.use('sha256:a', 'one.jco');
  await cache.use('sha256:b', 'one.jco');
  await cache.use('sha256:c', 'two.jco');
  await cache.forget('sha256:a');
  await cache.forget('sha256:a');
  assert.ok(await cache.load('one.jco', 'key one'));
  await cache.forget('sha256:b');
  assert.is(await cache.load('one.jco', 'key one'), null);
  assert.equal((await readdir(folder)).sort(), ['sha256-c.use', 'two.jco']);
});

test('a note that was tampered with removes nothing outside', async ({ cache, folder }) => {
  await writeFile(join(folder, 'sha256-a.use'), '../elsewhere.jco');
  await cache.forget('sha256:a');
  assert.ok(await cache.load('one.jco', 'key one'));
});

test('a file with one bit changed anywhere is not loaded, with a warning', async ({ cache, warnings, folder }) => {
  const path = join(folder, 'one.jco');
  const whole = await readFile(path);
  for (const at of [0, 14, 40, 200, 4_000_000, whole.length - 1]) {
    const changed = Buffer.from(whole);
    changed[at]! ^= 1;
    await writeFile(path, changed);
    assert.is(await cache.load('one.jco', 'key one'), null, `byte ${at}`);
  }
  assert.is(warnings.length, 6);
});

test('a file that was cut off is not loaded', async ({ cache, folder }) => {
  const path = join(folder, 'one.jco');
  const whole = await readFile(path);
  for (const length of [0, 10, 31, 32, 100, whole.length - 1]) {
    await writeFile(path, whole.subarray(0, length));
    assert.is(await cache.load('one.jco', 'key one'), null, `${length} bytes`);
  }
});

test('the code of another component, or of another version, is not loaded under a new name', async (context) => {
  await copyFile(join(context.folder, 'one.jco'), join(context.folder, 'two.jco'));
  assert.is(await context.cache.load('two.jco', 'key two'), null);
  assert.is(context.warnings.length, 1);
});

test('what another node wrote is not loaded', async ({ folder, warnings }) => {
  const other = new TranspileCache(folder, Buffer.alloc(32, 8), (message) => warnings.push(message));
  assert.is(await other.load('one.jco', 'key one'), null);
  assert.is(warnings.length, 1);
});

test.run();
