/** A node that gives its site what another registry has: fetched once, and served while that one is away. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { digestOf } from '../../images/store/index.ts';
import { DockerRegistry, hasDockerRegistry } from '../support/docker-registry.ts';
import { LayoutBuilder, layerOf, skopeo } from '../support/image-builder.ts';
import { Client, codeOf } from '../support/own-registry.ts';
import { file } from '../support/tar-writer.ts';
import { ask, type LocalNode, startLocal, temporaryFolder } from '../support/test-node.ts';

interface Scene {
  registry: DockerRegistry;
  folder: string;
  layout: LayoutBuilder;
}

const caches = suite<Scene>('the pull-through cache');
caches.before.each(async (scene) => {
  scene.registry = await DockerRegistry.start({ login: true });
  scene.folder = temporaryFolder();
  scene.layout = new LayoutBuilder(join(scene.folder, 'layout'));
});
caches.after.each(async ({ registry, folder }) => {
  await registry.end();
  rmSync(folder, { recursive: true, force: true });
});

const put = ({ layout, registry }: Scene, tag: string, as = tag) =>
  skopeo(
    ...['copy', '-q', '--preserve-digests', '--dest-tls-verify=false', '--dest-creds', 'tester:secret'],
    ...[`oci:${layout.folder}:${tag}`, `docker://${registry.address}/team/app:${as}`],
  );

/** A node with that registry as its upstream `site`. */
function startCache({ registry, folder }: Scene, ...more: string[]): Promise<LocalNode> {
  const auth = Buffer.from('tester:secret').toString('base64');
  writeFileSync(join(folder, 'auth.json'), JSON.stringify({ auths: { [registry.address]: { auth } } }));
  const upstream = ['--registry-upstream', `site=http://${registry.address}`];
  return startLocal([...upstream, '--registry-upstream-auth', join(folder, 'auth.json'), ...more]);
}

const clientOf = async (node: LocalNode, ...scopes: string[]) =>
  new Client(
    node.node.registryUrl as string,
    'device',
    await node.admin.token('device', ...(scopes.length > 0 ? scopes : ['repository:*:pull'])),
  );

/** The node is in this process: it must go on meanwhile. */
async function pull(node: LocalNode, token: string, name: string, to: string): Promise<void> {
  const { host } = new URL(node.node.registryUrl as string);
  const from = ['--src-tls-verify=false', '--src-creds', `device:${token}`, `docker://${host}/${name}`];
  await promisify(execFile)('skopeo', ['--insecure-policy', 'copy', '-q', ...from, `oci:${to}`]);
}

caches('what is not here is fetched from the upstream once, and served while that is away', async (scene) => {
  const { layout, registry, folder } = scene;
  const layers = [layerOf([file('a', randomBytes(3e6).toString('hex'))]), layerOf([file('b', 'b')])];
  const { digest } = layout.image(layers, 'v1');
  put(scene, 'v1');
  const node = await startCache(scene);
  try {
    const client = await clientOf(node, 'repository:site/*:pull');
    const { token } = client;
    // Several devices at once.
    await Promise.all([1, 2, 3].map((i) => pull(node, token, 'site/team/app:v1', join(folder, `out-${i}`))));
    const [image] = (await node.admin.call('GET', '/v1/images')).json().images;
    assert.equal([image.name, image.digest], ['site/team/app:v1', digest]);
    await registry.end();
    await pull(node, token, 'site/team/app:v1', join(folder, 'away'));
    const index = JSON.parse(readFileSync(join(folder, 'away', 'index.json'), 'utf8'));
    assert.is(index.manifests[0].digest, digest);
    const other = await client.ask({ path: '/v2/site/team/other/manifests/v1' });
    assert.is(other.status, 502);
    assert.match(codeOf(other), /UPSTREAM_FAILED/);
  } finally {
    await node.close();
  }
});

caches('layers that no device asked for are fetched too: another one may need them', async (scene) => {
  const { layout, registry } = scene;
  const layer = layerOf([file('a', randomBytes(50_000).toString('hex'))]);
  layout.image([layer], 'v1');
  put(scene, 'v1');
  const node = await startCache(scene);
  try {
    const client = await clientOf(node);
    assert.is((await client.ask({ path: '/v2/site/team/app/manifests/v1' })).status, 200);
    const digest = digestOf(layer.blob);
    const here = () => node.admin.call('GET', '/v1/images').then((answer) => answer.json().images[0].size);
    while ((await here()) <= layer.blob.length) await new Promise((resolve) => setTimeout(resolve, 20));
    await registry.end();
    const blob = await client.ask({ path: `/v2/site/team/app/blobs/${digest}` });
    assert.equal([blob.status, digestOf(blob.body)], [200, digest]);
  } finally {
    await node.close();
  }
});

caches('a tag that moved is seen while the upstream is there; what was pushed here is not asked for', async (scene) => {
  const { layout } = scene;
  const one = layout.image([layerOf([file('a', 'one')])], 'one').digest;
  const two = layout.image([layerOf([file('a', 'two')])], 'two').digest;
  put(scene, 'one', 'v1');
  const node = await startCache(scene);
  try {
    const client = await clientOf(node, 'repository:*:*');
    const tagged = async (path = '/v2/site/team/app/manifests/v1') =>
      (await client.ask({ path })).headers['docker-content-digest'];
    assert.is(await tagged(), one);
    put(scene, 'two', 'v1');
    assert.is(await tagged(), two);
    // Who began with the old one goes on with it.
    assert.is((await client.ask({ path: `/v2/site/team/app/manifests/${one}` })).status, 200);
    const own = await client.pushImage('site/team/app', 'v1', 'our own');
    assert.is(await tagged(), own.digest);
  } finally {
    await node.close();
  }
});

caches('without a setting, a token, or the name of an upstream nothing is fetched', async (scene) => {
  const { layout } = scene;
  layout.image([layerOf([file('a', 'x')])], 'v1');
  put(scene, 'v1');
  const off = await startLocal();
  const node = await startCache(scene, '--registry-anonymous-pull', 'site/*');
  const path = '/v2/site/team/app/manifests/v1';
  try {
    assert.is((await (await clientOf(off)).ask({ path })).status, 404);
    const scope = 'repository:site/team/app:pull';
    const { token } = (
      await ask(node.node.registryUrl as string, { path: `/token?service=skerry&scope=${scope}` })
    ).json();
    const anonymous = () =>
      ask(node.node.registryUrl as string, { path, headers: { authorization: `Bearer ${token}` } });
    assert.is((await anonymous()).status, 404);
    const client = await clientOf(node, 'repository:site/team/app:pull');
    assert.is((await client.ask({ path: '/v2/team/app/manifests/v1' })).status, 403);
    assert.is((await client.ask({ path })).status, 200);
    assert.is((await anonymous()).status, 200, 'what is here is there for all');
    assert.is((await client.ask({ path: `/v2/site/team/app/blobs/sha256:${'0'.repeat(64)}` })).status, 404);
    assert.not.match(JSON.stringify(node.log), /secret|dGVzdGVy/);
  } finally {
    await off.close();
    await node.close();
  }
});

/** An upstream that answers as the test says. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, close };
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

caches(
  'an upstream that sends wrong, short or endless blobs gives nobody a whole one, and keeps nothing here',
  async (scene) => {
    const { layout } = scene;
    const layer = layerOf([file('a', randomBytes(1e6).toString('hex'))], '');
    const { digest } = layout.image([layer], 'v1');
    const blob = digestOf(layer.blob);
    const wrong = Buffer.from(layer.blob);
    wrong[wrong.length - 600]! ^= 1;
    const lies: Record<string, (response: ServerResponse) => void> = {
      wrong: (response) => response.end(wrong),
      short: (response) => response.end(layer.blob.subarray(0, 1e6)),
      long: (response) => response.end(Buffer.concat([layer.blob, layer.blob])),
      none: (response) => response.writeHead(500).end(),
    };
    let lie = lies.none as (response: ServerResponse) => void;
    let asked = 0;
    const upstream = await serve(({ url = '', method }, response) => {
      if (url.includes('/manifests/')) {
        response.setHeader('content-type', MANIFEST);
        response.setHeader('docker-content-digest', digest);
        return response.end(method === 'HEAD' ? '' : readFileSync(layout.path(digest)));
      }
      if (!url.endsWith(blob)) return response.end(readFileSync(layout.path(url.split('/').at(-1) as string)));
      asked++;
      lie(response);
    });
    const node = await startLocal(['--registry-upstream', upstream.url]);
    try {
      const client = await clientOf(node);
      assert.is((await client.ask({ path: '/v2/any/app/manifests/v1' })).status, 200);
      for (const [what, told] of Object.entries(lies)) {
        lie = told;
        const got = await client.ask({ path: `/v2/any/app/blobs/${blob}` }).catch(() => null);
        assert.ok(got === null || got.status === 502, `${what}: ${got?.status}`);
      }
      const kept = await node.admin.call('GET', '/v1/images');
      assert.ok(kept.json().images[0].size < layer.blob.length);
      lie = (response) => response.end(layer.blob);
      const before = asked;
      const all = await Promise.all(Array.from({ length: 5 }, () => client.ask({ path: `/v2/any/app/blobs/${blob}` })));
      for (const got of all) assert.equal([got.status, digestOf(got.body)], [200, blob]);
      assert.ok(asked - before <= 1, `fetched ${asked - before} times`);
      assert.is((await client.ask({ path: `/v2/any/app/blobs/${blob}` })).status, 200);
      assert.ok(asked - before <= 1);
    } finally {
      await node.close();
      upstream.close();
    }
  },
);

caches('an upstream that never answers keeps nobody from what is here', async (scene) => {
  const { layout } = scene;
  const { digest } = layout.image([layerOf([file('a', 'x')])], 'v1');
  let silent = false;
  const upstream = await serve(({ url = '', method }, response) => {
    if (silent) return;
    if (url.includes('/manifests/')) response.setHeader('content-type', MANIFEST);
    const name = url.includes('/manifests/') ? digest : (url.split('/').at(-1) as string);
    response.end(method === 'HEAD' ? '' : readFileSync(layout.path(name)));
  });
  const node = await startLocal(['--registry-upstream', upstream.url]);
  try {
    const client = await clientOf(node);
    const path = '/v2/any/app/manifests/v1';
    assert.is((await client.ask({ path })).status, 200);
    silent = true;
    for (let i = 0; i < 3; i++) assert.is((await client.ask({ path })).headers['docker-content-digest'], digest);
  } finally {
    await node.close();
    upstream.close();
  }
});

if (hasDockerRegistry()) caches.run();
else console.log('skipped: the pull-through cache, since docker-registry is not installed');
