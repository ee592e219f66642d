import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { KeyValueNamespace } from '../../../../../runtime/keyvalue/keyvalue.ts';
import { type KeyValueStore, openKeyValueStore } from '../../../../../runtime/keyvalue/store.ts';
import { makeExchange } from '../../../../support/exchange.ts';
import { ask, type Bench, type Features, idle, MiB } from './bench.ts';

export function keyvalue(engine: string, bench: Bench, features: Features): void {
  const test = bench.suite(`${engine}: wasi:keyvalue`);
  let folder: string;
  let store: KeyValueStore;

  test.before.each(async () => {
    folder = mkdtempSync(join(tmpdir(), 'skerry-conformance-keyvalue-'));
    store = await openKeyValueStore(folder);
  });
  test.after.each(async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A function that has the namespace of `workload`, and one line to ask it: `say('set/bucket/key', value)`. */
  async function load(workload: string, quotaBytes = 16 * MiB) {
    const { fn } = await bench.load('services', { keyvalue: store.namespace(workload, quotaBytes) });
    const say = async (path: string, body: string | Uint8Array = '') =>
      (await ask(fn, { method: 'POST', target: `/${path}`, body })).body.toString();
    return { fn, say };
  }

  test('what is set is read by later requests, until it is deleted', async () => {
    const { fn, say } = await load('shop');
    assert.is(await say('get/b/k'), 'none');
    assert.is(await say('exists/b/k'), 'false');
    assert.is(await say('set/b/k', 'a value'), 'done');
    assert.is(await say('get/b/k'), 'a value');
    assert.is(await say('exists/b/k'), 'true');
    assert.is(await say('get/other/k'), 'none');
    assert.is(await say('delete/b/k'), 'done');
    assert.is(await say('delete/b/k'), 'done');
    assert.is(await say('get/b/k'), 'none');
    await fn.close();
  });

  test('values may be empty or hold any bytes, up to 1 MiB', async () => {
    const { fn, say } = await load('shop');
    const own = store.namespace('shop', 16 * MiB);
    assert.is(await say('set/b/empty', ''), 'done');
    assert.equal([await say('exists/b/empty'), await say('get/b/empty')], ['true', '']);
    const odd = Buffer.alloc(MiB, Buffer.from([0, 10, 255, 254, 128]));
    assert.is(await say('set/b/odd', odd), 'done');
    assert.ok(odd.equals(own.get('b', 'odd')!));
    assert.match(await say('set/b/odd', Buffer.alloc(MiB + 1)), /^other: the value has 1048577 bytes/);
    assert.ok(odd.equals(own.get('b', 'odd')!), 'a refused write changes nothing');
    await fn.close();
  });

  test('two functions do not see what the other one stores', async () => {
    const one = await load('one');
    const two = await load('two');
    await one.say('set/b/k', 'of one');
    await two.say('set/b/k', 'of two');
    assert.equal([await one.say('get/b/k'), await two.say('get/b/k')], ['of one', 'of two']);
    assert.is(await two.say('keys/b'), '1 pages: k');
    await one.fn.close();
    await two.fn.close();
  });

  test('keys are listed in order, page by page, by both drafts', async () => {
    const { fn, say } = await load('shop');
    const own = store.namespace('shop', 16 * MiB);
    assert.is(await say('keys/b'), '1 pages: ');
    const names = Array.from({ length: 2500 }, (_, at) => `k${String(at).padStart(4, '0')}`);
    for (let at = 0; at < names.length; at += 1000) {
      await own.setMany(
        'b',
        names.slice(at, at + 1000).map((name) => [name, Buffer.from('v')] as const),
      );
    }
    const [pages, listed] = (await say('keys/b')).split(' pages: ') as [string, string];
    assert.ok(Number(pages) > 1, `${pages} pages`);
    assert.equal(listed.split(' '), names);
    assert.is(await say('draft/list/b'), '2500 keys');
    assert.is(await say('draft/list/b/2400'), '100 keys');
    // A cursor that no listing gave.
    assert.is(await say('draft/list/b/18446744073709551615'), '0 keys');
    await fn.close();
  });

  test('a counter counts every increment, whoever makes it, up and down', async () => {
    const { fn, say } = await load('shop');
    const sums = await Promise.all(Array.from({ length: 20 }, () => say('increment/b/n/3')));
    assert.equal(
      sums.map(Number).sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, at) => 3 * (at + 1)),
    );
    assert.is(await say('increment/b/n/-61'), '-1');
    assert.match(await say('draft/increment/b/fresh'), /^5$/);
    await say('set/b/text', 'words');
    assert.match(await say('increment/b/text/1'), /^other: the value cannot be incremented/);
    assert.is(await say('increment/b/max/9223372036854775807'), '9223372036854775807');
    assert.match(await say('increment/b/max/1'), /^other: /);
    await fn.close();
  });

  test('a compare-and-swap fails when somebody else wrote in between, and can be tried again', async () => {
    const { fn, say } = await load('shop');
    assert.is(await say('swap/b/k', 'first'), 'swapped none');
    assert.is(await say('swap/b/k', 'second'), 'swapped first');
    assert.is(await say('swap/b/k/raced', 'third'), "swapped somebody else's at the second try");
    assert.is(await say('get/b/k'), 'third');
    await fn.close();
  });

  test('batches read, write and delete many keys', async () => {
    const { fn, say } = await load('shop');
    assert.is(await say('set-many/b/a,b,c', 'x'), 'done');
    assert.is(await say('delete-many/b/b,missing'), 'done');
    assert.is(await say('get-many/b/c,b,a'), 'c=x none a=x');
    const tooMany = Array.from({ length: 1001 }, (_, at) => at).join(',');
    assert.match(await say(`get-many/b/${tooMany}`), /^other: the batch is too large/);
    await fn.close();
  });

  test('past its quota a write is refused and told so, and changes nothing; deleting makes room', async () => {
    const { fn, say } = await load('small', 10_000);
    assert.is(await say('set/b/one', Buffer.alloc(6000)), 'done');
    assert.match(await say('set/b/two', Buffer.alloc(6000)), /^other: the storage of this workload is full/);
    assert.is(await say('keys/b'), '1 pages: one');
    await say('delete/b/one');
    assert.is(await say('set/b/two', Buffer.alloc(6000)), 'done');
    await fn.close();
  });

  test('a name that no bucket can have is no such store', async () => {
    const { fn, say } = await load('shop');
    assert.is(await say(`open/${'b'.repeat(129)}/1`), '0 opened, then no such store');
    await fn.close();
  });

  test('a key without end is refused', async () => {
    const { fn, say } = await load('shop');
    assert.match(await say('huge-key/b/5000000'), /^other: the key /);
    await fn.close();
  });

  test('handles are bounded, and the function is told when it holds too many', async () => {
    const { fn, say } = await load('shop');
    assert.is(await say('open/b/1000'), '1000 opened');
    assert.match(await say('open/b/1000000'), /^\d{3,5} opened, then other: too many handles/);
    await fn.close();
  });

  if (features.p3) {
    test('a function of WASI 0.3 has the same storage', async () => {
      const own = store.namespace('shop', 16 * MiB);
      const { fn } = await bench.load('behaviours-p3', { keyvalue: own });
      const sums = await Promise.all(Array.from({ length: 3 }, () => ask(fn, { target: '/increment/5' })));
      assert.equal(sums.map(({ body }) => body.toString()).sort(), ['10', '15', '5']);
      assert.is(Buffer.from(own.get('b', 'n')!).toString(), '15');
      await fn.close();
    });
  }

  test('a client that leaves in the middle of an operation ends the work, and what was asked is done', async () => {
    const own = store.namespace('shop', 16 * MiB);
    let reached!: () => void;
    const atStorage = new Promise<void>((resolve) => {
      reached = resolve;
    });
    let go!: () => void;
    const released = new Promise<void>((resolve) => {
      go = resolve;
    });
    const slow: KeyValueNamespace = Object.assign(Object.create(own), {
      checkBucket: (bucket: string) => own.checkBucket(bucket),
      async set(bucket: string, key: string, value: Uint8Array) {
        reached();
        await released;
        await own.set(bucket, key, value);
      },
    });
    const { fn } = await bench.load('services', { keyvalue: slow });
    const { exchange, abort } = makeExchange({ method: 'POST', target: '/set/b/k', body: 'value' });
    const handled = fn.handle(exchange);
    await atStorage;
    abort();
    await handled;
    await idle(fn);
    assert.is(own.get('b', 'k'), null);
    go();
    await own.set('b', 'other', Buffer.from('x'));
    assert.is(Buffer.from(own.get('b', 'k')!).toString(), 'value');
    await fn.close();
  });

  test.run();
}
