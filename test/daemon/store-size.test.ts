/** A node whose store has come to its bound. */
import { randomBytes } from 'node:crypto';
import { readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { evict } from '../../daemon/evict.ts';
import { ImageCatalog, type ImageRecord } from '../../images/oci/index.ts';
import { digestOf } from '../../images/store/index.ts';
import { openStateStore, type StateStore } from '../../runtime/state/index.ts';
import { skerry } from '../support/cli.ts';
import { Client, codeOf, OwnRegistry } from '../support/own-registry.ts';
import { ask, type LocalNode, startLocal } from '../support/test-node.ts';

const MIB = 2 ** 20;
const DAY_MS = 24 * 3_600_000;

interface Scene {
  node: LocalNode;
  client: Client;
  run(...args: string[]): ReturnType<typeof skerry>;
  /** Makes a blob of the store a day old. */
  age(digest: string): void;
}

const sizes = suite<Scene>('--store-size');
sizes.before.each(async (scene) => {
  scene.node = await startLocal(['--store-size', '10MiB']);
  const token = await scene.node.admin.token('ci', 'repository:*:*');
  scene.client = new Client(scene.node.node.registryUrl as string, 'ci', token);
  scene.run = (...args) => skerry(args, { data: scene.node.data });
  scene.age = (digest) => {
    const hex = digest.slice('sha256:'.length);
    const then = (Date.now() - DAY_MS) / 1000;
    utimesSync(join(scene.node.data, 'content', 'blobs', 'sha256', hex.slice(0, 2), hex), then, then);
  };
});
sizes.after.each(({ node }) => node.close());

const put = async ({ client }: Scene, bytes: Buffer) =>
  client.ask({ method: 'POST', path: `/v2/team/app/blobs/uploads/?digest=${digestOf(bytes)}`, body: bytes });

sizes('a push, an upload and a deploy beyond it are refused, and what is there goes on', async (scene) => {
  const { node, client, run } = scene;
  await node.admin.deploy('greet');
  assert.is((await put(scene, randomBytes(5 * MIB))).status, 201);
  const answer = await put(scene, randomBytes(6 * MIB));
  assert.equal([answer.status, codeOf(answer)], [507, 'DENIED']);
  assert.match(answer.json().errors[0].message, /--store-size/);
  // In chunks without a length nobody knows before.
  const location = await client.begin('team/app');
  const chunk = await client.ask({ method: 'PATCH', path: location, body: randomBytes(6 * MIB), headers: {} });
  assert.is(chunk.status, 507);
  assert.equal(readdirSync(join(node.data, 'content', 'uploads')), []);
  const artifact = await ask(node.admin.socket, { method: 'POST', path: '/v1/artifacts', body: randomBytes(6 * MIB) });
  assert.is(artifact.status, 507);
  assert.is((await ask(node.url, { path: '/greet/hello' })).status, 200);
  assert.is((await put(scene, randomBytes(MIB))).status, 201, 'what fits is taken');
  const { store } = JSON.parse((await run('images', '--json')).stdout);
  assert.is(store.limit, 10 * MIB);
  assert.ok(store.bytes > 6 * MIB && store.bytes <= 10 * MIB);
  assert.match((await run('image', 'prune')).stdout, /of the 10MiB that it may have/);
});

sizes('what nobody uses goes before anything is refused; what is deployed or young stays', async (scene) => {
  const { node, client, age } = scene;
  const { revisions } = await node.admin.deploy('greet');
  assert.ok(revisions.length > 0);
  const unused = await node.admin.upload(randomBytes(5 * MIB));
  const young = await node.admin.upload(randomBytes(MIB));
  for (const name of readdirSync(join(node.data, 'content', 'blobs', 'sha256'), { recursive: true }) as string[])
    if (name.includes('/')) age(`sha256:${name.split('/')[1]}`);
  age(unused);
  const now = Date.now() / 1000;
  const hex = young.slice('sha256:'.length);
  utimesSync(join(node.data, 'content', 'blobs', 'sha256', hex.slice(0, 2), hex), now, now);
  const pushed = randomBytes(5 * MIB);
  assert.is((await put(scene, pushed)).status, 201);
  const here = readdirSync(join(node.data, 'content', 'blobs', 'sha256'), { recursive: true }).join(' ');
  assert.is(here.includes(unused.slice('sha256:'.length)), false);
  assert.is(here.includes(hex), true);
  assert.is((await ask(node.url, { path: '/greet/hello' })).status, 200);
  assert.is((await client.ask({ path: `/v2/team/app/blobs/${digestOf(pushed)}` })).status, 200);
});

sizes.run();

const names = suite<{ registry: OwnRegistry; state: StateStore }>('names that go when room is needed');
names.before.each(async (scene) => {
  scene.registry = await OwnRegistry.start();
  scene.state = await openStateStore(join(scene.registry.folder, 'other'), { onCorrupt: () => {} });
});
names.after.each(async ({ registry, state }) => {
  await state.close();
  await registry.end();
});

names('pulled images that nothing runs go, the oldest first; what was pushed under a tag never', async (scene) => {
  const { registry, state } = scene;
  const { blobs, repositories } = registry;
  const client = await registry.client();
  const pushed = await client.pushImage('team/app', 'v1', 'pushed '.repeat(10_000));
  const images = new ImageCatalog(state);
  const pull = async (name: string, ageMs: number) => {
    const put = async (bytes: Buffer) => ({ ...(await blobs.putBytes(bytes)), mediaType: 'application/wasm' });
    const [manifest, layer] = [await put(randomBytes(100)), await put(randomBytes(100_000))];
    const record: ImageRecord = {
      ...{ manifest, root: manifest.digest, config: manifest, layers: [{ ...layer, diffId: layer.digest }] },
      platform: { os: 'linux', architecture: 'amd64', variant: null },
      importedMs: Date.now() - ageMs,
    };
    await images.put(name, record);
    return { name, digest: layer.digest, manifest: manifest.digest };
  };
  const old = await pull('other.example/old:v1', 3 * DAY_MS);
  const older = await pull('other.example/older:v1', 5 * DAY_MS);
  const run = await pull('other.example/run:v1', 9 * DAY_MS);
  const young = await pull('other.example/young:v1', 60_000);
  for (const { digest } of await blobs.list()) {
    const then = (Date.now() - 2 * DAY_MS) / 1000;
    utimesSync(blobs.path(digest), then, then);
  }
  const sources = {
    ...{ blobs, images, repositories },
    desired: { artifacts: () => new Set([run.manifest]) },
    builds: { sourceMaps: () => [] },
  };
  const left = () =>
    images
      .list()
      .map(({ name }) => name)
      .sort();
  const room = (least: number) => ({ fits: () => blobs.space.used < least });
  await evict(sources, room(blobs.space.used), 1);
  assert.equal(left(), [old.name, run.name, young.name].sort(), 'as many as are needed');
  assert.is(await blobs.has(older.digest), false);
  await evict(sources, room(0), 1);
  assert.equal(left(), [run.name, young.name].sort());
  assert.is(await blobs.has(run.digest), true);
  assert.is(await blobs.has(pushed.layer), true);
});

names.run();
