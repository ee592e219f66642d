import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { openStateStore } from '../../../runtime/state/index.ts';
import { currentSchema, type Schema } from '../../../runtime/state/migrations.ts';

/** A past in which a workload was a string `image memory`, under another key, and logs were kept here too. */
const old: Schema = { version: 0, migrations: [] };
const now: Schema = {
  version: 2,
  migrations: [
    {
      from: 0,
      run: ({ documents, put, remove }) => {
        for (const { key, generation, value } of documents('app/')) {
          const [image, memory] = (value as string).split(' ');
          remove(key);
          put(key.replace('app/', 'workload/'), generation, { image, memory });
        }
        for (const { key } of documents('log/')) remove(key);
      },
    },
    {
      from: 1,
      run: ({ documents, put }) => {
        for (const { key, generation, value } of documents('workload/')) {
          const { image, memory } = value as { image: string; memory: string };
          put(key, generation, { image, memoryBytes: Number(memory) });
        }
      },
    },
  ],
};

const migration = suite<{ folder: string }>('migration');

migration.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-migration-'));
  const store = await openStateStore(context.folder, { schema: old });
  await store.commit([
    { key: 'app/a', expect: 0, value: 'first 100' },
    { key: 'app/b', expect: 0, value: 'second 200' },
    { key: 'log/1', expect: 0, value: 'x'.repeat(5000) },
    { key: 'other', expect: 0, value: 1 },
  ]);
  await store.commit([{ key: 'app/a', expect: 1, value: 'first 300' }]);
  await store.close();
});
migration.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

async function errorOf(folder: string, schema: Schema): Promise<SkerryError> {
  try {
    await (await openStateStore(folder, { schema })).close();
  } catch (error) {
    return error as SkerryError;
  }
  throw new Error('there was no error');
}

migration('a folder of version 0 is brought to version 2 step by step, and stays there', async ({ folder }) => {
  for (const schema of [now, { ...now, migrations: [] }]) {
    const store = await openStateStore(folder, { schema });
    assert.equal(store.list(''), [
      { key: 'other', generation: 1, value: 1 },
      { key: 'workload/a', generation: 2, value: { image: 'first', memoryBytes: 300 } },
      { key: 'workload/b', generation: 1, value: { image: 'second', memoryBytes: 200 } },
    ]);
    await store.close();
  }
});

migration('a step that fails changes nothing: the older Skerry goes on', async ({ folder }) => {
  const broken: Schema = {
    ...now,
    migrations: [now.migrations[0]!, { from: 1, run: () => assert.unreachable('a broken step') }],
  };
  const error = await errorOf(folder, broken);
  assert.is(error.code, 'STATE_MIGRATION_FAILED');
  assert.match(error.what, 'from schema version 1 to 2: a broken step');
  const store = await openStateStore(folder, { schema: old });
  assert.equal(
    store.list('').map(({ key }) => key),
    ['app/a', 'app/b', 'log/1', 'other'],
  );
  await store.close();
});

migration('a folder from a newer version is refused with both versions, and not touched', async ({ folder }) => {
  await (await openStateStore(folder, { schema: now })).close();
  const before = readFileSync(join(folder, 'data.mdb'));
  const older: Schema = { version: now.version - 1, migrations: now.migrations.slice(0, -1) };
  const error = await errorOf(folder, older);
  assert.is(error.code, 'STATE_NEWER');
  assert.match(error.what, `schema version ${now.version}; this one knows up to ${older.version}`);
  assert.equal(readFileSync(join(folder, 'data.mdb')), before);
});

migration('a folder too old for any step is refused', async ({ folder }) => {
  assert.is((await errorOf(folder, { version: 3, migrations: [] })).code, 'STATE_TOO_OLD');
});

migration('a revision from before gets no secrets, no allow-list, and the default limits', async ({ folder }) => {
  const first = await openStateStore(join(folder, 'v1'), { schema: { version: 1, migrations: [] } });
  const limits = { memoryBytes: 1, cpuMillicores: 2, timeoutMs: 3, startTimeoutMs: 4, concurrency: 5 };
  const document = { id: 'aaaa00000001', workload: 'a', env: { A: '1' }, limits };
  await first.commit([
    { key: 'revision/a/aaaa00000001', expect: 0, value: document },
    { key: 'workload/a', expect: 0, value: { name: 'a' } },
  ]);
  await first.close();
  const store = await openStateStore(join(folder, 'v1'));
  const { value, generation } = store.get('revision/a/aaaa00000001')!;
  const services = { secrets: [], allow: [], keyvalueQuotaBytes: 16 * 2 ** 20 };
  const transfer = { maxRequestBytes: 2 ** 30, maxResponseBytes: 2 ** 30 };
  assert.equal(value, { ...document, ...services, limits: { ...limits, ...transfer } });
  assert.is(generation, 1);
  assert.equal(store.get('workload/a')?.value, { name: 'a' });
  await store.close();
});

migration('the steps of this Skerry lead to its version without a gap', () => {
  const steps = currentSchema.migrations.map(({ from }) => from);
  assert.equal(
    steps,
    steps.map((_, index) => currentSchema.version - steps.length + index),
  );
});

migration.run();
