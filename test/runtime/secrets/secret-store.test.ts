import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { digestOf } from '../../../images/store/index.ts';
import { SecretStore } from '../../../runtime/secrets/secret-store.ts';
import { openStateStore, type StateStore } from '../../../runtime/state/index.ts';
import { DesiredState } from '../../../runtime/workload/desired-state.ts';
import { secretKey } from '../../../runtime/workload/documents.ts';
import type { Revision } from '../../../runtime/workload/revision.ts';
import { revisionOf } from '../../../runtime/workload/revision-of.ts';
import type { WorkloadSettings } from '../../../runtime/workload/settings.ts';

const KEY = Buffer.alloc(32, 1);

interface Context {
  folder: string;
  store: StateStore;
  desired: DesiredState;
  secrets: SecretStore;
  deploy(name: string, settings: WorkloadSettings): Promise<Revision>;
}

const secrets = suite<Context>('secrets');
const noneCorrupt = (key: string) => assert.unreachable(`${key} is damaged`);

secrets.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-secrets-'));
  const store = await openStateStore(context.folder);
  const desired = new DesiredState(store, noneCorrupt);
  Object.assign(context, { store, desired, secrets: new SecretStore(store, KEY, desired, noneCorrupt) });
  context.deploy = async (name, settings) => {
    const artifact = { digest: digestOf(Buffer.from(name)), mediaType: 'application/wasm' };
    const revision = revisionOf(name, artifact, name, settings, new Set(['wasm'] as const));
    await desired.deploy([{ name, revisions: [{ revision, percent: 100 }], settings }]);
    return revision;
  };
});
secrets.after.each(async ({ store, folder }) => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function refused(code: string, work: () => unknown): Promise<SkerryError> {
  try {
    await work();
  } catch (error) {
    assert.is((error as SkerryError).code, code, (error as Error).stack);
    return error as SkerryError;
  }
  throw new Error(`it was not refused with ${code}`);
}

secrets('a function gets the secrets that it names, and no others', async ({ secrets, deploy }) => {
  await secrets.set('API_KEY', 'hunter2 ☂');
  await secrets.set('OTHER', 'x');
  assert.equal(secrets.valuesFor(await deploy('a', { secrets: ['API_KEY', 'API_KEY'] })), { API_KEY: 'hunter2 ☂' });
  assert.equal(secrets.valuesFor(await deploy('b', {})), {});
  await secrets.set('API_KEY', 'hunter3');
  assert.equal(secrets.valuesFor(await deploy('a', { secrets: ['API_KEY'] })), { API_KEY: 'hunter3' });
});

secrets('on the disk a value is sealed, each time anew', async ({ secrets, store, folder }) => {
  await secrets.set('K', 'a value to look for');
  const first = store.get<{ sealed: string }>(secretKey('K'))?.value.sealed;
  await secrets.set('K', 'a value to look for');
  const second = store.get<{ sealed: string }>(secretKey('K'))?.value.sealed;
  assert.is.not(first, second);
  const file = readFileSync(join(folder, 'data.mdb'));
  for (const encoding of ['utf8', 'base64'] as const) {
    assert.not(file.includes(Buffer.from('a value to look for').toString(encoding)), encoding);
  }
});

secrets('it opens with the key of its node, under its name, and unchanged only', async (context) => {
  const { secrets, store, desired, deploy } = context;
  await secrets.set('K', 'one');
  await secrets.set('L', 'two');
  const revision = await deploy('a', { secrets: ['K'] });
  const foreign = new SecretStore(store, Buffer.alloc(32, 2), desired, noneCorrupt);
  await refused('SECRET_UNREADABLE', () => foreign.valuesFor(revision));
  const [k, l] = [store.get<{ sealed: string }>(secretKey('K'))!, store.get(secretKey('L'))!];
  await store.commit([{ key: k.key, expect: k.generation, value: l.value }]);
  await refused('SECRET_UNREADABLE', () => secrets.valuesFor(revision));
  const sealed = Buffer.from(k.value.sealed, 'base64');
  sealed[0] = (sealed[0] as number) ^ 1;
  const changed = { ...k.value, sealed: sealed.toString('base64') };
  await store.commit([{ key: k.key, expect: k.generation + 1, value: changed }]);
  await refused('SECRET_UNREADABLE', () => secrets.valuesFor(revision));
  await secrets.set('K', 'mended');
  assert.equal(secrets.valuesFor(revision), { K: 'mended' });
});

secrets('a deploy that names a secret which is not there fails, and changes nothing', async (context) => {
  const { deploy, desired, secrets } = context;
  const error = await refused('SECRET_MISSING', () => deploy('a', { secrets: ['NOT_THERE'] }));
  assert.match(error.message, /a is to get the secret NOT_THERE.*skerry secret set NOT_THERE/);
  assert.is(desired.get('a'), null);
  await secrets.set('NOT_THERE', 'now');
  await deploy('a', { secrets: ['NOT_THERE'] });
});

secrets('the list has names and uses, and no values', async ({ secrets, deploy }) => {
  await secrets.set('B', 'value of b');
  await secrets.set('A', 'value of a');
  await deploy('two', { secrets: ['A'] });
  await deploy('one', { secrets: ['A', 'B'] });
  const list = secrets.list();
  assert.equal(
    list.map(({ name, usedBy }) => [name, usedBy]),
    [
      ['A', ['one', 'two']],
      ['B', ['one']],
    ],
  );
  assert.match(list[0]?.updatedAt ?? '', /^\d{4}-\d\d-\d\dT/);
  assert.not(JSON.stringify(list).includes('value of'));
});

secrets('one in use is removed by force only; in use is what has traffic', async ({ secrets, deploy }) => {
  await secrets.set('K', 'x');
  const revision = await deploy('user', { secrets: ['K'] });
  const error = await refused('SECRET_IN_USE', () => secrets.remove('K', false));
  assert.match(error.what, /used by user/);
  await secrets.remove('K', true);
  await refused('SECRET_MISSING', () => secrets.valuesFor(revision));
  await refused('NO_SECRET', () => secrets.remove('K', true));
  await secrets.set('K', 'x');
  await deploy('user', {});
  await secrets.remove('K', false);
});

secrets('a removal and a deploy at the same time never leave a workload without its secret', async (context) => {
  const { secrets, deploy, desired } = context;
  for (let i = 0; i < 20; i++) {
    await secrets.set('K', 'x');
    const ends = await Promise.allSettled(
      i % 2 === 0
        ? [secrets.remove('K', false), deploy(`w${i}`, { secrets: ['K'] })]
        : [deploy(`w${i}`, { secrets: ['K'] }), secrets.remove('K', false)],
    );
    assert.equal(ends.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    if (desired.get(`w${i}`)) await desired.remove(`w${i}`);
  }
});

secrets('what is no text, or too long, is no value', async ({ secrets }) => {
  for (const value of ['', 'a\0b', '\ud800', 'x'.repeat(65_537)]) {
    const error = await refused('SECRET_INVALID', () => secrets.set('K', value));
    assert.ok(value === '' || !error.message.includes(value), 'it is not told');
  }
  assert.equal(secrets.list(), []);
  await secrets.set('K', 'x'.repeat(65_536));
});

secrets('a name cannot be a secret and a variable at once', async ({ secrets, deploy }) => {
  await secrets.set('K', 'x');
  await refused('INVALID_SETTING', () => deploy('a', { secrets: ['K'], env: { K: 'y' } }));
});

secrets.run();
