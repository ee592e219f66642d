/** A changed function on its way from one node to another: what goes over the network, counted on the socket. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeWasmArtifact } from '../../images/oci/wasm-artifact.ts';
import { digestOf } from '../../images/store/index.ts';
import { skerry } from '../support/cli.ts';
import { CountingProxy } from '../support/counting-proxy.ts';
import { DockerRegistry, hasDockerRegistry } from '../support/docker-registry.ts';
import { javaScriptComponent } from '../support/javascript.ts';
import { Client } from '../support/own-registry.ts';
import { ask, discard, type ProcessNode, startProcess, temporaryFolder } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

/** A function of some size, as a bundle with libraries is. */
const source = (greeting: string) => `
const parts = [${Array.from({ length: 300 }, (_, i) => `(a) => ({ name: 'part ${i}', value: a * ${i} })`).join(',\n')}];
export default { fetch(request) { return new Response(${JSON.stringify(greeting)} + parts.length); } };`;

interface Peer {
  readonly node: ProcessNode;
  /** Puts a component into its registry. */
  push(name: string, tag: string, component: Buffer): Promise<void>;
}

interface Scene {
  before: Buffer;
  after: Buffer;
  here: Peer;
  there: Peer;
  /** On the way to the registry of `there`. */
  wire: CountingProxy;
  folder: string;
  /** The command at `here`. */
  run(...args: string[]): ReturnType<typeof skerry>;
}

async function peer(): Promise<Peer> {
  const node = await startProcess();
  const token = await node.admin.token('ci', 'repository:*:*');
  const client = new Client(node.registry as string, 'ci', token);
  const push = async (name: string, tag: string, component: Buffer) => {
    const made = makeWasmArtifact(
      { digest: digestOf(component), size: component.length },
      { exports: [], imports: [] },
    );
    for (const blob of [component, made.config]) await client.pushBlob(name, blob);
    const answer = await client.pushManifest(name, tag, made.manifest.toString());
    assert.is(answer.status, 201);
  };
  return { node, push };
}

/** Docker's config.json of a user of this registry. */
function login(folder: string, registry: string, user: string): void {
  const auths = { [registry]: { auth: Buffer.from(user).toString('base64') } };
  mkdirSync(join(folder, 'docker'), { recursive: true });
  writeFileSync(join(folder, 'docker', 'config.json'), JSON.stringify({ auths }));
}

const deltas = suite<Scene>('deltas between nodes');
deltas.before(async (scene) => {
  scene.before = readFileSync(await javaScriptComponent(source('one')));
  scene.after = readFileSync(await javaScriptComponent(source('two, which is longer')));
});
deltas.before.each(async (scene) => {
  scene.folder = temporaryFolder();
  scene.here = await peer();
  scene.there = await peer();
  scene.wire = await CountingProxy.start(new URL(scene.there.node.registry as string).host);
  const token = await scene.there.node.admin.token('other', 'repository:*:*');
  login(scene.folder, scene.wire.address, `other:${token}`);
  const env = { DOCKER_CONFIG: join(scene.folder, 'docker'), HOME: scene.folder, PATH: process.env.PATH ?? '' };
  scene.run = (...args) =>
    skerry([...args, '--insecure-registry', scene.wire.address], { data: scene.here.node.data, env, tty: true });
});
deltas.after.each(async ({ here, there, wire, folder }) => {
  await wire.close();
  await discard(here.node);
  await discard(there.node);
  rmSync(folder, { recursive: true, force: true });
});

const share = (bytes: number, whole: Buffer) => bytes / whole.length;

deltas('a function with a changed line is pushed with less than a twentieth of its component', async (scene) => {
  const { here, there, before, after, wire, run } = scene;
  await here.push('team/greet', 'v1', before);
  await here.push('team/greet', 'v2', after);
  const first = await run('push', `${wire.address}/team/greet:v1`);
  assert.is(first.status, 0, first.stderr);
  assert.ok(share(wire.takeBytes(), before) > 1, 'the first time all of it goes');
  const second = await run('push', `${wire.address}/team/greet:v2`);
  assert.is(second.status, 0, second.stderr);
  const bytes = wire.takeBytes();
  assert.ok(share(bytes, after) < 0.05, `${bytes} bytes went over the socket`);
  assert.match(second.stderr, /of \d+ KiB/, 'what is told is what was sent');
  const client = new Client(
    there.node.registry as string,
    'more',
    await there.node.admin.token('more', 'repository:*:*'),
  );
  const there2 = await client.ask({ path: `/v2/team/greet/blobs/${digestOf(after)}` });
  assert.is(there2.status, 200);
  assert.is(there2.headers['content-encoding'], undefined, 'other clients pull whole blobs');
  assert.ok(there2.body.equals(after));
});

deltas('and pulled with as little, and runs', async (scene) => {
  const { here, there, before, after, wire, run } = scene;
  await there.push('team/greet', 'v1', before);
  await there.push('team/greet', 'v2', after);
  const name = `${wire.address}/team/greet`;
  assert.is((await run('pull', `${name}:v1`)).status, 0);
  assert.ok(share(wire.takeBytes(), before) > 1);
  const pulled = await run('pull', `${name}:v2`);
  assert.is(pulled.status, 0, pulled.stderr);
  const bytes = wire.takeBytes();
  assert.ok(share(bytes, after) < 0.05, `${bytes} bytes went over the socket`);
  const deployed = await skerry(['deploy', `${name}:v2`, '--name', 'greet'], { data: here.node.data });
  assert.is(deployed.status, 0, deployed.stderr);
  assert.match((await ask(here.node.url, { path: '/greet' })).body.toString(), /^two, which is longer300/);
});

deltas('another function comes as a delta too: they have the engine in common', async (scene) => {
  const { there, before, after, wire, run } = scene;
  await there.push('team/greet', 'v1', before);
  await there.push('shop/cart', 'v1', after);
  assert.is((await run('pull', `${wire.address}/team/greet:v1`)).status, 0);
  wire.takeBytes();
  assert.is((await run('pull', `${wire.address}/shop/cart:v1`)).status, 0);
  assert.ok(share(wire.takeBytes(), after) < 0.05);
});

deltas('a site that fetches for its devices gets as little', async (scene) => {
  const { there, before, after, wire, folder } = scene;
  await there.push('team/greet', 'v1', before);
  await there.push('team/greet', 'v2', after);
  const upstream = ['--registry-upstream', `site=http://${wire.address}`];
  const auth = ['--registry-upstream-auth', join(folder, 'docker', 'config.json')];
  const site = await startProcess({ args: [...upstream, ...auth] });
  try {
    const client = new Client(site.registry as string, 'device', await site.admin.token('device', 'repository:*:pull'));
    const take = async (tag: string, component: Buffer) => {
      wire.takeBytes();
      assert.is((await client.ask({ path: `/v2/site/team/greet/manifests/${tag}` })).status, 200);
      const blob = await client.ask({ path: `/v2/site/team/greet/blobs/${digestOf(component)}` });
      assert.is(blob.headers['content-encoding'], undefined);
      assert.equal([blob.status, blob.body.length], [200, component.length], blob.body.toString().slice(0, 300));
      assert.is(digestOf(blob.body), digestOf(component));
      return share(wire.takeBytes(), component);
    };
    assert.ok((await take('v1', before)) > 1);
    assert.ok((await take('v2', after)) < 0.05);
  } finally {
    await discard(site);
  }
});

testUnless(
  deltas,
  hasDockerRegistry() ? null : 'docker-registry is not installed',
  'a plain registry is sent, and sends, whole blobs',
  async (scene) => {
    const { here, before, after, folder } = scene;
    const registry = await DockerRegistry.start({ login: true });
    try {
      login(folder, registry.address, 'tester:secret');
      const env = { DOCKER_CONFIG: join(folder, 'docker'), HOME: folder, PATH: process.env.PATH ?? '' };
      const at = ({ node }: Peer, ...args: string[]) =>
        skerry([...args, '--insecure-registry', registry.address], { data: node.data, env });
      await here.push('team/greet', 'v1', before);
      await here.push('team/greet', 'v2', after);
      for (const tag of ['v1', 'v2']) {
        const name = `${registry.address}/team/greet:${tag}`;
        assert.is((await at(here, 'push', name)).status, 0);
        const pulled = await at(scene.there, 'pull', name);
        assert.is(pulled.status, 0, pulled.stderr);
      }
    } finally {
      await registry.end();
    }
  },
);

deltas.run();
