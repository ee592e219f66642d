import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import type { KeyCursor, KeyValueNamespace } from '../../../runtime/keyvalue/keyvalue.ts';
import { KEYVALUE_LIMITS } from '../../../runtime/keyvalue/limits.ts';
import { type KeyValueStore, openKeyValueStore } from '../../../runtime/keyvalue/store.ts';

const MiB = 2 ** 20;

interface Context {
  folder: string;
  store: KeyValueStore;
  own: KeyValueNamespace;
}

const keyvalue = suite<Context>('key-value storage');

keyvalue.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-keyvalue-'));
  context.store = await openKeyValueStore(context.folder);
  context.own = context.store.namespace('own', 16 * MiB);
});
keyvalue.after.each(async ({ folder, store }) => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const bytes = (text: string) => Buffer.from(text);
const text = (value: Uint8Array | null) => (value === null ? null : Buffer.from(value).toString());

async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    return (error as SkerryError).code;
  }
  return 'none';
}

keyvalue('what is set is there, also after a restart; what is deleted is not', async (context) => {
  const { own, folder } = context;
  await own.set('b', 'key', bytes('value'));
  await own.set('b', 'gone', bytes('x'));
  await own.delete('b', 'gone');
  await own.delete('b', 'never there');
  await context.store.close();
  context.store = await openKeyValueStore(folder);
  const again = context.store.namespace('own', 16 * MiB);
  assert.is(text(again.get('b', 'key')), 'value');
  assert.ok(again.exists('b', 'key'));
  assert.equal([again.get('b', 'gone'), again.exists('b', 'gone')], [null, false]);
});

keyvalue('any text is a key, any bytes are a value, the empty ones too', async ({ own }) => {
  const odd = Buffer.from([0, 255, 254, 0, 128]);
  for (const key of ['\0', 'a\0b', '\u{1f600}', 'ключ', ' ', '\u{10ffff}', 'x'.repeat(1024)]) {
    await own.set('', key, odd);
    assert.equal(own.get('', key), odd, JSON.stringify(key));
  }
  await own.set('', 'empty', Buffer.alloc(0));
  assert.equal(own.get('', 'empty'), Buffer.alloc(0));
  const most = Buffer.alloc(MiB, 7);
  await own.set('', 'large', most);
  assert.equal(own.get('', 'large'), most);
});

keyvalue('a value that was read stays as it was read', async ({ own }) => {
  await own.set('b', 'k', bytes('first'));
  const first = own.get('b', 'k');
  await own.set('b', 'k', bytes('other'));
  assert.is(text(first), 'first');
});

keyvalue('workloads and buckets see their own keys only', async ({ own, store }) => {
  const other = store.namespace('own-2', MiB);
  await own.set('a', 'k', bytes('own a'));
  await own.set('ab', 'k', bytes('own ab'));
  await other.set('a', 'k', bytes('other'));
  assert.equal([own.get('a', 'k'), own.get('ab', 'k'), other.get('a', 'k')].map(text), ['own a', 'own ab', 'other']);
  assert.equal([own.listKeys('a', null).keys, other.listKeys('ab', null).keys], [['k'], []]);
});

keyvalue('bad names, keys and values are refused', async ({ own }) => {
  const value = bytes('x');
  assert.is(await codeOf(() => own.checkBucket('a\0b')), 'KEYVALUE_BUCKET_INVALID');
  assert.is(await codeOf(() => own.get('x'.repeat(129), 'k')), 'KEYVALUE_BUCKET_INVALID');
  assert.is(await codeOf(() => own.set('b', '', value)), 'KEYVALUE_KEY_INVALID');
  assert.is(await codeOf(() => own.set('b', 'é'.repeat(513), value)), 'KEYVALUE_KEY_INVALID');
  assert.is(await codeOf(() => own.set('b', '\ud800', value)), 'KEYVALUE_KEY_INVALID');
  assert.is(await codeOf(() => own.set('b', 'k', Buffer.alloc(MiB + 1))), 'KEYVALUE_VALUE_TOO_LARGE');
  const many = Array.from({ length: KEYVALUE_LIMITS.batchKeys + 1 }, (_, i) => `k${i}`);
  assert.is(await codeOf(() => own.deleteMany('b', many)), 'KEYVALUE_BATCH_TOO_LARGE');
  assert.is(await codeOf(() => own.getMany('b', many)), 'KEYVALUE_BATCH_TOO_LARGE');
  assert.equal(own.listKeys('b', null), { keys: [], more: false });
});

keyvalue('keys are listed page by page, by either cursor, each once and in order', async ({ own }) => {
  const keys = Array.from({ length: 2500 }, (_, i) => `key ${String(i).padStart(4, '0')}`);
  for (let i = 0; i < keys.length; i += 500) {
    await own.setMany(
      'b',
      keys.slice(i, i + 500).map((key) => [key, bytes('v')] as const),
    );
  }
  await own.set('c', 'of another bucket', bytes('v'));
  for (const form of ['after', 'position'] as const) {
    const listed: string[] = [];
    let cursor: KeyCursor | null = null;
    for (let more = true; more; ) {
      const page = own.listKeys('b', cursor);
      assert.ok(page.keys.length <= KEYVALUE_LIMITS.pageKeys);
      listed.push(...page.keys);
      cursor = form === 'after' ? { after: listed.at(-1) as string } : { position: listed.length };
      more = page.more;
    }
    assert.equal(listed, keys, form);
  }
});

keyvalue('a page of long keys ends early', async ({ own }) => {
  const keys = Array.from({ length: 100 }, (_, i) => `${String(i).padStart(3, '0')}${'x'.repeat(1000)}`);
  await own.setMany(
    'b',
    keys.map((key) => [key, bytes('v')] as const),
  );
  const first = own.listKeys('b', null);
  assert.ok(first.more && first.keys.length < 70);
  const rest = own.listKeys('b', { after: first.keys.at(-1) as string });
  assert.equal([...first.keys, ...rest.keys], keys);
  assert.not(rest.more);
});

keyvalue('batches are all or nothing, and answer in the order asked', async ({ own }) => {
  await own.setMany('b', [
    ['x', bytes('1')],
    ['y', bytes('2')],
    ['x', bytes('3')],
  ]);
  assert.equal(own.getMany('b', ['y', 'none', 'x']).map(text), ['2', null, '3']);
  const bad: [string, Uint8Array][] = [
    ['z', bytes('1')],
    ['', bytes('2')],
  ];
  assert.is(await codeOf(() => own.setMany('b', bad)), 'KEYVALUE_KEY_INVALID');
  assert.not(own.exists('b', 'z'));
  await own.deleteMany('b', ['x', 'none', 'y']);
  assert.equal(own.getMany('b', ['x', 'y']), [null, null]);
});

keyvalue('increments at the same time all count', async ({ own }) => {
  const sums = await Promise.all(Array.from({ length: 500 }, () => own.increment('b', 'n', 3n, 'u64')));
  assert.is(new Set(sums).size, 500);
  assert.is(sums.at(-1), 1500n);
  assert.is(text(own.get('b', 'n')), '1500');
  assert.is(await own.increment('b', 'n', -1501n, 's64'), -1n);
});

keyvalue('what is no number, or would be none of its type, is not incremented', async ({ own }) => {
  const refused = (delta: bigint, type: 'u64' | 's64') => codeOf(() => own.increment('b', 'k', delta, type));
  for (const value of ['', 'ten', '1.5', ' 1', '9'.repeat(21)]) {
    await own.set('b', 'k', bytes(value));
    assert.is(await refused(1n, 'u64'), 'KEYVALUE_NOT_A_NUMBER', value);
    assert.is(text(own.get('b', 'k')), value);
  }
  await own.set('b', 'k', bytes('18446744073709551615'));
  assert.is(await refused(1n, 'u64'), 'KEYVALUE_NOT_A_NUMBER');
  assert.is(await refused(0n, 's64'), 'KEYVALUE_NOT_A_NUMBER');
  await own.set('b', 'k', bytes('0'));
  assert.is(await refused(-1n, 'u64'), 'KEYVALUE_NOT_A_NUMBER');
});

keyvalue('of many swaps from one version one wins', async ({ own }) => {
  await own.set('b', 'k', bytes('old'));
  const { version } = own.read('b', 'k');
  const won = await Promise.all(Array.from({ length: 50 }, (_, i) => own.swap('b', 'k', version, bytes(`new ${i}`))));
  assert.is(won.filter((each) => each).length, 1);
  assert.is(text(own.get('b', 'k')), `new ${won.indexOf(true)}`);
});

keyvalue('a swap notices a change back to the same value, and a key that came or went', async ({ own }) => {
  await own.set('b', 'k', bytes('a'));
  const { version } = own.read('b', 'k');
  await own.set('b', 'k', bytes('b'));
  await own.set('b', 'k', bytes('a'));
  assert.not(await own.swap('b', 'k', version, bytes('c')));
  await own.delete('b', 'k');
  await own.set('b', 'k', bytes('a'));
  assert.not(await own.swap('b', 'k', version, bytes('c')), 'also after it was deleted and made again');
  const missing = own.read('b', 'new');
  assert.equal(missing, { value: null, version: 0n });
  assert.ok(await own.swap('b', 'new', missing.version, bytes('1')));
  assert.not(await own.swap('b', 'new', missing.version, bytes('2')));
  assert.is(text(own.get('b', 'new')), '1');
});

/** What an entry of bucket `b`, a key of 2 bytes and this value counts for. */
const charged = (valueBytes: number) => 1 + 2 + valueBytes + KEYVALUE_LIMITS.entryBytes;

keyvalue('the quota is exact, however many write at once', async ({ store }) => {
  const small = store.namespace('small', 10 * charged(100));
  const keys = Array.from({ length: 40 }, (_, i) => `${i + 10}`);
  const ends = await Promise.all(keys.map((key) => codeOf(() => small.set('b', key, Buffer.alloc(100)))));
  assert.is(ends.filter((end) => end === 'none').length, 10);
  assert.is(ends.filter((end) => end === 'KEYVALUE_QUOTA').length, 30);
  assert.is(small.listKeys('b', null).keys.length, 10);
});

keyvalue('what is over the quota changes nothing; deleting and shrinking make room to the byte', async ({ store }) => {
  const small = store.namespace('small', 2 * charged(100));
  await small.setMany('b', [
    ['k1', Buffer.alloc(100)],
    ['k2', Buffer.alloc(100)],
  ]);
  assert.is(await codeOf(() => small.set('b', 'k1', Buffer.alloc(101))), 'KEYVALUE_QUOTA');
  assert.is(small.get('b', 'k1')?.byteLength, 100);
  await small.set('b', 'k2', Buffer.alloc(40));
  assert.is(await codeOf(() => small.set('b', 'k1', Buffer.alloc(161))), 'KEYVALUE_QUOTA');
  await small.set('b', 'k1', Buffer.alloc(160));
  // The quota of a later revision may be lower than what is there.
  const lower = store.namespace('small', charged(100));
  assert.is(await codeOf(() => lower.set('b', 'k3', Buffer.alloc(1))), 'KEYVALUE_QUOTA');
  await lower.set('b', 'k1', Buffer.alloc(150));
  await lower.delete('b', 'k1');
  await lower.set('b', 'k2', Buffer.alloc(100));
});

keyvalue('what a workload stored goes with it, and with no other', async ({ own, store }) => {
  const other = store.namespace('own2', MiB);
  await other.set('b', 'k', bytes('stays'));
  for (let i = 0; i < 3; i++) {
    await own.setMany(
      'b',
      Array.from({ length: 900 }, (_, n) => [`${i} ${n}`, bytes('x')] as const),
    );
  }
  assert.equal(store.workloads(), ['own', 'own2']);
  const removed = store.remove('own');
  // What comes after the removal is of the next workload of that name.
  const next = own.set('b', 'next', bytes('1'));
  await Promise.all([removed, next]);
  assert.equal(own.listKeys('b', null).keys, ['next']);
  assert.is(text(other.get('b', 'k')), 'stays');
  await store.remove('own');
  assert.equal(store.workloads(), ['own2']);
  const whole = store.namespace('own', charged(1));
  await whole.set('b', 'k1', bytes('1'));
});

keyvalue('a damaged value is told, never served, and can be replaced', async (context) => {
  const { own, folder } = context;
  await own.set('b', 'k', bytes('a value to find'));
  await context.store.close();
  const file = join(folder, 'data.mdb');
  const content = readFileSync(file);
  for (let at = content.indexOf('a value to find'); at >= 0; at = content.indexOf('a value to find', at + 1)) {
    content[at] = (content[at] as number) ^ 1;
  }
  writeFileSync(file, content);
  context.store = await openKeyValueStore(folder);
  const again = context.store.namespace('own', 16 * MiB);
  assert.is(await codeOf(() => again.get('b', 'k')), 'KEYVALUE_DAMAGED');
  await again.set('b', 'k', bytes('new'));
  assert.is(text(again.get('b', 'k')), 'new');
});

keyvalue('after the end nothing is written, and what was under way is there', async (context) => {
  const pending = Promise.all(Array.from({ length: 50 }, (_, i) => context.own.set('b', `k${i}`, bytes('x'))));
  await context.store.close();
  await pending;
  assert.is(await codeOf(() => context.own.set('b', 'late', bytes('x'))), 'KEYVALUE_CLOSED');
  assert.is(await codeOf(() => context.own.get('b', 'k1')), 'KEYVALUE_CLOSED');
  context.store = await openKeyValueStore(context.folder);
  assert.is(context.store.namespace('own', MiB).listKeys('b', null).keys.length, 50);
});

keyvalue.run();
