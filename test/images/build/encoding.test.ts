/** That a component made from a template is the one that the encoder would have made. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encode, Template } from '../../../images/build/javascript/encoding.ts';
import { splicedEngine } from '../../../images/build/javascript/engine.ts';
import { prepareJavaScriptBuilder } from '../../../images/build/javascript/index.ts';
import { snapshot } from '../../../images/build/javascript/snapshot.ts';
import { builderFolder as cacheFolder } from '../../support/javascript.ts';

const test = suite<{ folder: string; snapshotOf(source: string): Promise<Buffer> }>('encoding a component');

test.before(async (context) => {
  await prepareJavaScriptBuilder({ cacheFolder });
  context.folder = await mkdtemp(join(tmpdir(), 'skerry-encoding-'));
  const engine = await splicedEngine(cacheFolder, () => {});
  const limits = { timeMs: 60_000, memoryBytes: 2 ** 30, sizeBytes: 64 * 2 ** 20 };
  let count = 0;
  context.snapshotOf = async (source) => {
    const run = join(context.folder, `run-${++count}`);
    return readFile(await snapshot(engine, source, run, join(cacheFolder, 'native'), limits));
  };
});
test.after(async ({ folder }) => rm(folder, { recursive: true, force: true }));

test('a template filled with another module is what the encoder makes of that', async ({ folder, snapshotOf }) => {
  const path = join(folder, 'template.wasm');
  const one = await snapshotOf('export default { fetch() {} };');
  await Template.store(path, one, await encode(one));
  const other = await snapshotOf(
    'const kept = Array.from({ length: 100_000 }, (_, i) => "text " + i); export default { fetch: () => new Response(kept[7]) };',
  );
  assert.ok(other.length > one.length + 1_000_000, 'it has another heap, in a larger memory');
  const filled = (await Template.read(path))!.fill(other);
  assert.ok(filled);
  assert.ok(Buffer.from(await encode(other)).equals(filled!));
});

test('a module with other code is not filled in', async ({ folder, snapshotOf }) => {
  const path = join(folder, 'template.wasm');
  const changed = await snapshotOf('export default { fetch() {} };');
  // In the middle of the code, which comes before the data.
  changed[5_000_000]! ^= 1;
  assert.is((await Template.read(path))!.fill(changed), null);
});

test('where there is no template, none is read', async ({ folder }) => {
  assert.is(await Template.read(join(folder, 'none.wasm')), null);
});

test.run();
