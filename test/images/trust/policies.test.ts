/** Which policy holds for a repository, whatever its name is written like. */
import { generateKeyPairSync } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type NamedReference, parseReference, type RecordStore } from '../../../images/oci/index.ts';
import { Policies, policyName } from '../../../images/trust/index.ts';
import { openStateStore, type StateStore } from '../../../runtime/state/index.ts';
import { temporaryFolder } from '../../support/test-node.ts';

interface Scene {
  folder: string;
  state: StateStore;
  policies: Policies;
  /** Patterns of the policies that hold. */
  holding(reference: string): string[];
}

const keys = [
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }) as string,
];
const nameOf = (reference: string) => policyName(parseReference(reference) as NamedReference);

const test = suite<Scene>('policies by repository');
test.before.each(async (scene) => {
  scene.folder = temporaryFolder();
  scene.state = await openStateStore(join(scene.folder, 'state'));
  scene.policies = new Policies(scene.state);
  scene.holding = (reference) => scene.policies.for(nameOf(reference)).map(({ pattern }) => pattern);
});
test.after.each(async ({ state, folder }) => {
  await state.close();
  rmSync(folder, { recursive: true, force: true });
});

test('the most specific pattern holds; a star crosses slashes; nothing fits by a part', async ({
  policies,
  holding,
}) => {
  for (const pattern of ['*', 'team/*', 'team/app', 'team/app-*', 'registry.example/*'])
    await policies.set(pattern, { keys });
  assert.equal(holding('other'), ['*']);
  assert.equal(holding('team/x/y/z'), ['team/*']);
  assert.equal(holding('team/app:v1'), ['team/app']);
  assert.equal(holding('team/app-2'), ['team/app-*']);
  assert.equal(holding('registry.example/team/app'), ['registry.example/*']);
  assert.equal(holding('registry.example.evil.example/team/app'), ['*']);
  await policies.remove('*');
  assert.equal(holding('xteam/app'), []);
  assert.equal(holding('x/team/app'), []);
});

test('where two are equally specific both hold', async ({ policies, holding }) => {
  await policies.set('team/*', { keys });
  await policies.set('*/appx', { keys });
  assert.equal(holding('team/appx'), ['*/appx', 'team/*']);
});

test('names that lead to the same place are one', () => {
  for (const name of [
    'docker.io/library/nginx',
    'docker.io/nginx',
    'index.docker.io/nginx:1',
    'registry-1.docker.io/nginx',
  ])
    assert.is(nameOf(name), 'docker.io/library/nginx', name);
  for (const name of ['R.example/a', 'r.example:443/a', 'r.example:0443/a@sha256:'.padEnd(88, '0')])
    assert.is(nameOf(name), 'r.example/a', name);
  assert.is(nameOf('r.example:05000/a'), 'r.example:5000/a');
  assert.is(nameOf('a'), 'a');
});

test('stars in a row are one, and such a pattern is found again', async ({ policies, holding }) => {
  assert.is((await policies.set('team/***', { keys })).pattern, 'team/*');
  assert.equal(holding('team/app'), ['team/*']);
  await policies.remove('team/**');
  assert.equal(policies.list(), []);
});

test('a policy that cannot be read forbids: nothing is known to be allowed', () => {
  const broken: RecordStore = {
    get: () => null,
    list: () => {
      throw new Error('its checksum is wrong');
    },
    commit: async () => {},
  };
  assert.throws(() => new Policies(broken).for('any'), /its checksum is wrong.*POLICY_UNREADABLE/);
  const value = { requires: { keys: ['not a key'] }, setAt: '' };
  const strange: RecordStore = { ...broken, list: <T>() => [{ key: 'policy/x', generation: 1, value: value as T }] };
  assert.throws(() => new Policies(strange).for('other'), /POLICY_UNREADABLE/);
});

test.run();
