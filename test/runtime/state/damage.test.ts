import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { openStateStore } from '../../../runtime/state/index.ts';
import { bundleChild, run } from '../../support/powercut/run-child.ts';
import { scratchInMemory } from '../../support/powercut/scratch.ts';
import { chooseSeed, randomFrom } from '../../support/random.ts';

const damage = suite<{ folder: string; good: Buffer }>('damage');
const documents = 120;
const marker = 'a text that stands in one document only';

damage.before(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-damage-'));
  const store = await openStateStore(join(context.folder, 'good'));
  const random = randomFrom(1);
  for (let number = 0; number < documents; number++) {
    const value = { text: 'v'.repeat(Math.floor(random() ** 6 * 20_000)), marker: number === 7 ? marker : '' };
    await store.commit([{ key: `doc/${number}`, expect: 0, value }]);
  }
  await store.close();
  context.good = readFileSync(join(context.folder, 'good', 'data.mdb'));
});
damage.before.each(({ folder }) => {
  rmSync(join(folder, 'bad'), { recursive: true, force: true });
  cpSync(join(folder, 'good'), join(folder, 'bad'), { recursive: true });
});
damage.after(({ folder }) => rmSync(folder, { recursive: true, force: true }));

damage('a damaged document is reported by its key and never served, and the others are', async ({ folder, good }) => {
  const bad = Buffer.from(good);
  // Copies that later commits left behind hold the text too: the one in use is among them.
  for (let at = bad.indexOf(marker); at >= 0; at = bad.indexOf(marker, at + 1)) bad[at]! ^= 0x20;
  writeFileSync(join(folder, 'bad', 'data.mdb'), bad);
  const code = await openStateStore(join(folder, 'bad')).catch((error: SkerryError) => `${error.code} ${error.what}`);
  assert.match(String(code), /^STATE_CORRUPT .*doc\/7:/);

  const reported: string[] = [];
  const store = await openStateStore(join(folder, 'bad'), { onCorrupt: (key) => reported.push(key) });
  assert.equal(reported, ['doc/7']);
  assert.throws(
    () => store.get('doc/7'),
    (error: SkerryError) => error.code === 'STATE_CORRUPT',
  );
  assert.throws(
    () => store.list('doc/'),
    (error: SkerryError) => error.code === 'STATE_CORRUPT',
  );
  assert.is(store.list('doc/', (key) => reported.push(key)).length, documents - 1);
  assert.equal(reported, ['doc/7', 'doc/7']);
  const refused = await store.commit([{ key: 'doc/7', expect: 1, value: 1 }]).catch((error: SkerryError) => error.code);
  assert.is(refused, 'STATE_CORRUPT');
  assert.equal(await store.commit([{ key: 'doc/8', expect: 1, value: 1 }]), [2]);
  await store.close();
});

damage('a data file that was cut is reported wherever it was cut', async ({ folder, good }) => {
  const file = join(folder, 'bad', 'data.mdb');
  // What lies beyond the pages in use is only reserved room: a file without it is whole.
  const used = good.length - trailingZeros(good);
  for (const size of [0, 1, 100, 4095, 4096, 4200, 8192, 8193, 12_288, Math.floor(used / 2), used - 4096]) {
    writeFileSync(file, good);
    truncateSync(file, size);
    const code = await openStateStore(join(folder, 'bad')).catch((error: SkerryError) => error.code);
    assert.is(code, 'STATE_CORRUPT', `cut to ${size} of ${used}`);
  }
});

function trailingZeros(bytes: Buffer): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.length - end;
}

damage('a file that is no data file at all is reported', async ({ folder }) => {
  for (const content of [Buffer.alloc(8192, 1), Buffer.alloc(65_536), Buffer.from('{}')]) {
    writeFileSync(join(folder, 'bad', 'data.mdb'), content);
    const code = await openStateStore(join(folder, 'bad')).catch((error: SkerryError) => error.code);
    assert.is(code, 'STATE_CORRUPT');
  }
});

damage('a damaged length in the older root page does not make the data file grow', async ({ folder, good }) => {
  const file = join(folder, 'bad', 'data.mdb');
  const lastPageAt = 144;
  const transactionAt = 152;
  const older = good.readBigUInt64LE(transactionAt) < good.readBigUInt64LE(4096 + transactionAt) ? 0 : 4096;
  const bad = Buffer.from(good);
  bad.writeUInt32LE(1 << 20, older + lastPageAt);
  writeFileSync(file, bad);
  const store = await openStateStore(join(folder, 'bad'));
  await store.commit([{ key: 'new', expect: 0, value: 1 }]);
  assert.is(store.list('').length, documents + 1);
  await store.close();
  assert.ok(statSync(file).size < 2 * good.length + 1_000_000);
});

damage('whatever bits flip, the node reports it or is whole, and never crashes', async ({ folder }) => {
  const seed = chooseSeed('flipped bits');
  const scratch = scratchInMemory('skerry-damage-');
  try {
    const script = await bundleChild(scratch, 'damaging-child');
    const parameters = [script, join(folder, 'good'), scratch, String(seed), '400'];
    // A damaged length must not fill the disk.
    const end = await run('prlimit', ['--fsize=67108864', process.execPath, ...parameters]);
    // A crash would be a signal here: SIGSEGV or SIGBUS of a mapped page, SIGABRT of an assertion.
    assert.is(end.signal, null, end.stderr);
    assert.is(end.code, 0, end.stderr);
    const { whole, reported, problems } = JSON.parse(end.stdout);
    console.log(`flipped bits: ${reported} reported, ${whole} were in bytes that mean nothing`);
    assert.equal(problems, []);
    assert.ok(reported > 100 && whole > 0);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

damage.run();
