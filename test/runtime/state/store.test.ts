import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { openStateStore, type StateStore, type StateStoreOptions } from '../../../runtime/state/index.ts';

interface Context {
  folder: string;
  store: StateStore;
  reopen: (options?: StateStoreOptions) => Promise<StateStore>;
}

const stateStore = suite<Context>('state store');

stateStore.before.each(async (context) => {
  context.folder = join(mkdtempSync(join(tmpdir(), 'skerry-state-')), 'state');
  context.store = await openStateStore(context.folder);
  context.reopen = async (options) => {
    await context.store.close();
    context.store = await openStateStore(context.folder, options);
    return context.store;
  };
});
stateStore.after.each(async ({ folder, store }) => {
  await store.close();
  rmSync(join(folder, '..'), { recursive: true, force: true });
});

async function errorOf(work: Promise<unknown>): Promise<SkerryError> {
  try {
    await work;
  } catch (error) {
    return error as SkerryError;
  }
  throw new Error('there was no error');
}

stateStore('a document is read back as it was written, also after a restart', async ({ store, reopen }) => {
  const value = { text: 'ключ "€" 😀', number: 1.5, list: [null, true, { nested: [] }], long: 'x'.repeat(100_000) };
  assert.equal(await store.commit([{ key: 'workload/hello', expect: 0, value }]), [1]);
  assert.equal(store.get('workload/hello'), { key: 'workload/hello', generation: 1, value });
  assert.equal((await reopen()).get('workload/hello'), { key: 'workload/hello', generation: 1, value });
});

stateStore('what is read is a copy: changing it changes nothing', async ({ store }) => {
  await store.commit([{ key: 'a', expect: 0, value: { n: 1 } }]);
  store.get<{ n: number }>('a')!.value.n = 2;
  assert.is(store.get<{ n: number }>('a')!.value.n, 1);
});

stateStore('a list has the documents under its prefix, in order, and no others', async ({ store }) => {
  const keys = ['b', 'a/2', 'a/1', 'a0', 'a/10', 'a', 'a/~'];
  await store.commit(keys.map((key) => ({ key, expect: 0, value: key })));
  const listed = (prefix: string) => store.list(prefix).map(({ key }) => key);
  assert.equal(listed('a/'), ['a/1', 'a/10', 'a/2', 'a/~']);
  assert.equal(listed(''), [...keys].sort());
  assert.equal(listed('c'), []);
});

stateStore('of two writers that saw the same generation the second is told so, by the key', async ({ store }) => {
  await store.commit([{ key: 'a', expect: 0, value: 1 }]);
  const both = await Promise.allSettled([
    store.commit([{ key: 'a', expect: 1, value: 'first' }]),
    store.commit([{ key: 'a', expect: 1, value: 'second' }]),
  ]);
  assert.is(both[0].status, 'fulfilled');
  const { reason } = both[1] as PromiseRejectedResult;
  assert.is(reason.code, 'STATE_CONFLICT');
  assert.match(reason.what, /^a was changed .*1 was expected, 2 was found/);
  assert.is(store.get('a')!.value, 'first');
});

stateStore('a commit is all or nothing', async ({ store, reopen }) => {
  await store.commit([{ key: 'b', expect: 0, value: 1 }]);
  const error = await errorOf(
    store.commit([
      { key: 'a', expect: 0, value: 1 },
      { key: 'b', expect: 0, value: 2 },
      { key: 'c', expect: 0, value: 1 },
    ]),
  );
  assert.is(error.code, 'STATE_CONFLICT');
  const keys = (reader: StateStore) => reader.list('').map(({ key }) => key);
  assert.equal(keys(store), ['b']);
  assert.equal(keys(await reopen()), ['b']);
});

stateStore(
  'commits made at once are taken in order, and a refused one does not touch the others',
  async ({ store }) => {
    const outcomes = await Promise.allSettled([
      store.commit([{ key: 'a', expect: 0, value: 1 }]),
      store.commit([{ key: 'a', expect: 0, value: 2 }]),
      store.commit([{ key: 'a', expect: 1, value: 3 }]),
      store.commit([{ key: 'a', expect: 2, delete: true }]),
      store.commit([{ key: 'a', expect: 0, value: 5 }]),
    ]);
    assert.equal(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
    );
    assert.equal(store.get('a'), { key: 'a', generation: 3, value: 5 });
  },
);

stateStore('a document made anew never repeats a generation, also after a restart', async ({ store, reopen }) => {
  for (let expect = 0; expect < 5; expect++) await store.commit([{ key: 'a', expect, value: expect }]);
  await store.commit([{ key: 'a', expect: 5, delete: true }]);
  assert.is(store.get('a'), null);
  const next = await reopen();
  const [generation] = await next.commit([{ key: 'a', expect: 0, value: 'new' }]);
  assert.ok(generation! > 5);
  assert.is((await errorOf(next.commit([{ key: 'a', expect: 5, value: 'old writer' }]))).code, 'STATE_CONFLICT');
});

stateStore('deleting what is not there is a conflict', async ({ store }) => {
  assert.is((await errorOf(store.commit([{ key: 'a', expect: 1, delete: true }]))).code, 'STATE_CONFLICT');
});

stateStore('a watcher is told of each commit after it can be read, until it leaves', async ({ store }) => {
  const told: [string[], unknown][] = [];
  const leave = store.watch('w/', (keys) => told.push([keys, store.get('w/a')?.value]));
  await store.commit([
    { key: 'w/a', expect: 0, value: 1 },
    { key: 'x', expect: 0, value: 1 },
  ]);
  await store.commit([{ key: 'x', expect: 1, value: 2 }]);
  await errorOf(store.commit([{ key: 'w/a', expect: 0, value: 2 }]));
  await store.commit([{ key: 'w/a', expect: 1, delete: true }]);
  leave();
  await store.commit([{ key: 'w/b', expect: 0, value: 1 }]);
  assert.equal(told, [
    [['w/a'], 1],
    [['w/a'], undefined],
  ]);
});

stateStore('keys and values that cannot be stored are refused, by name', async ({ store }) => {
  for (const key of ['', 'a b', 'ä', 'a\n', 'a\0', 'k'.repeat(512)])
    assert.is((await errorOf(store.commit([{ key, expect: 0, value: 1 }]))).code, 'STATE_KEY_INVALID');
  const twice = [1, 2].map((value) => ({ key: 'a', expect: 0, value }));
  assert.is((await errorOf(store.commit(twice))).code, 'STATE_KEY_INVALID');
  const loop: unknown[] = [];
  loop.push(loop);
  for (const value of [undefined, () => 1, 1n, loop, 'x'.repeat(17 * 1024 * 1024)])
    assert.is((await errorOf(store.commit([{ key: 'a', expect: 0, value }]))).code, 'STATE_VALUE_INVALID');
  assert.equal(store.list(''), []);
  assert.equal(await store.commit([]), []);
});

stateStore('the store outgrows its first mapping while it is read', async ({ reopen }) => {
  const store = await reopen({ mapBytes: 128 * 1024 });
  const value = 'x'.repeat(50_000);
  for (let number = 0; number < 60; number++) {
    await store.commit([{ key: `k/${number}`, expect: 0, value }]);
    assert.is(store.list<string>('').filter((document) => document.value === value).length, number + 1);
  }
  assert.is((await reopen()).list('').length, 60);
});

stateStore('closing waits for the commits under way; after it nothing is taken', async ({ store, reopen }) => {
  const under = store.commit([{ key: 'a', expect: 0, value: 1 }]);
  await store.close();
  assert.equal(await under, [1]);
  assert.is((await errorOf(store.commit([{ key: 'b', expect: 0, value: 1 }]))).code, 'STATE_CLOSED');
  assert.throws(
    () => store.get('a'),
    (error: SkerryError) => error.code === 'STATE_CLOSED',
  );
  assert.is((await reopen()).list('').length, 1);
});

stateStore('only the owner can read the state', ({ folder }) => {
  assert.is(statSync(folder).mode & 0o777, 0o700);
  for (const file of ['data.mdb', 'lock.mdb']) assert.is(statSync(join(folder, file)).mode & 0o777, 0o600);
});

stateStore('a file in place of the folder is reported', async ({ folder }) => {
  const file = join(folder, '..', 'file');
  writeFileSync(file, '');
  assert.is((await errorOf(openStateStore(file))).code, 'STATE_NOT_WRITABLE');
});

stateStore('a store whose making was cut short is made anew', async ({ folder }) => {
  const other = join(folder, '..', 'other');
  mkdirSync(join(other, 'creating'), { recursive: true });
  writeFileSync(join(other, 'creating', 'data.mdb'), Buffer.alloc(100));
  const store = await openStateStore(other);
  await store.commit([{ key: 'a', expect: 0, value: 1 }]);
  await store.close();
});

stateStore.run();
