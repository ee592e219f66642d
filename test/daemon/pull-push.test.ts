/** Images and components between the node and other registries, as their users bring and send them. */
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assertFailure, skerry } from '../support/cli.ts';
import { DockerRegistry, hasDockerRegistry } from '../support/docker-registry.ts';
import { guest } from '../support/guests.ts';
import { LayoutBuilder, layerOf, skopeo } from '../support/image-builder.ts';
import { file } from '../support/tar-writer.ts';
import { ask, type LocalNode, startLocal, temporaryFolder } from '../support/test-node.ts';
import { addWasmArtifact } from '../support/wasm-artifacts.ts';

interface Scene {
  registry: DockerRegistry;
  node: LocalNode;
  folder: string;
  layout: LayoutBuilder;
  component: Buffer;
  /** The command, with a home of its own. */
  run(...args: string[]): ReturnType<typeof skerry>;
  /** Writes docker's config.json. */
  config(value: unknown): void;
}

const PASSWORD = 'secret';
const credentials = { auth: Buffer.from(`tester:${PASSWORD}`).toString('base64') };

const transfers = suite<Scene>('pull and push');
transfers.before.each(async (scene) => {
  scene.registry = await DockerRegistry.start({ login: true });
  scene.node = await startLocal();
  scene.folder = temporaryFolder();
  scene.layout = new LayoutBuilder(join(scene.folder, 'layout'));
  scene.component = readFileSync(await guest('behaviours'));
  const env = { DOCKER_CONFIG: join(scene.folder, 'docker'), HOME: scene.folder, PATH: process.env.PATH ?? '' };
  mkdirSync(env.DOCKER_CONFIG);
  scene.config = (value) => writeFileSync(join(env.DOCKER_CONFIG, 'config.json'), JSON.stringify(value));
  scene.config({ auths: { [scene.registry.address]: credentials } });
  scene.run = (...args) => skerry(args, { data: scene.node.data, env });
});
transfers.after.each(async ({ node, registry, folder }) => {
  await node.close();
  await registry.end();
  rmSync(folder, { recursive: true, force: true });
});

const answer = async ({ node }: Scene, name: string) => ask(node.url, { path: `/${name}/hello` });
const put = ({ layout, registry }: Scene, tag: string, name: string) =>
  skopeo(
    ...['copy', '-q', '--preserve-digests', '--dest-tls-verify=false', '--dest-creds', `tester:${PASSWORD}`],
    ...[`oci:${layout.folder}:${tag}`, `docker://${registry.address}/${name}:${tag}`],
  );

transfers(
  'a component of another registry is pulled, listed, and deployed while that registry is away',
  async (scene) => {
    const { registry, layout, component, run } = scene;
    addWasmArtifact(layout, component, 'v1');
    put(scene, 'v1', 'team/greet');
    const name = `${registry.address}/team/greet:v1`;
    assertFailure(await run('deploy', name), 'REGISTRY_TLS', 1, /--insecure-registry/);
    assertFailure(await run('pull', name), 'REGISTRY_TLS', 1, /--insecure-registry/);
    assertFailure(await run('pull', name, '--insecure-registry', 'other:1'), 'REGISTRY_TLS', 1, /./);
    const pulled = await run('pull', '--insecure-registry', registry.address, name);
    assert.equal([pulled.status, pulled.stderr], [0, '']);
    assert.match(pulled.stdout, /greet:v1 is here: .*sha256:/);
    const [image] = JSON.parse((await run('images', '--json')).stdout).images;
    assert.equal([image.name, image.origin, image.usedBy], [name, 'pulled', []]);
    await registry.end();
    const deployed = await run('deploy', name, '--name', 'greet');
    assert.is(deployed.status, 0, deployed.stderr);
    assert.is((await answer(scene, 'greet')).status, 200);
    const [used] = JSON.parse((await run('images', '--json')).stdout).images;
    assert.equal(used.usedBy, ['greet']);
    assert.match((await run('image', 'rm', name)).stdout, /greet keeps what it is made from/);
    assert.is((await answer(scene, 'greet')).status, 200);
  },
);

transfers('what is deployed is pushed as a Wasm artifact, which another node and skopeo take', async (scene) => {
  const { registry, component, folder, run } = scene;
  const path = join(folder, 'greet.wasm');
  writeFileSync(path, component);
  assert.is((await run('deploy', path)).status, 0);
  const name = `${registry.address}/team/greet:v2`;
  const insecure = ['--insecure-registry', registry.address];
  const pushed = await run('push', name, ...insecure, '--json');
  assert.is(pushed.status, 0, pushed.stderr);
  const { digest } = JSON.parse(pushed.stdout).artifact;
  const at = ['--tls-verify=false', '--creds', `tester:${PASSWORD}`, `docker://${name}`];
  const manifest = JSON.parse(skopeo('inspect', '--raw', ...at));
  assert.is(manifest.config.mediaType, 'application/vnd.wasm.config.v0+json');
  assert.equal(
    manifest.layers.map((layer: { mediaType: string; size: number }) => [layer.mediaType, layer.size]),
    [['application/wasm', component.length]],
  );
  const config = JSON.parse(skopeo('inspect', '--config', '--raw', ...at));
  assert.equal([config.architecture, config.os, config.layerDigests], ['wasm', 'wasip2', [manifest.layers[0].digest]]);
  assert.ok(config.component.exports.some((each: string) => each.startsWith('wasi:http/incoming-handler@')));
  assert.is(JSON.parse((await run('push', name, ...insecure, '--json')).stdout).artifact.digest, digest, 'again');
  const other = await startLocal();
  try {
    const env = { DOCKER_CONFIG: join(folder, 'docker'), HOME: folder };
    const there = (...args: string[]) => skerry(args, { data: other.data, env });
    assert.is((await there('pull', ...insecure, name)).status, 0);
    assert.is((await there('deploy', name, '--name', 'greet')).status, 0);
    assert.is((await ask(other.url, { path: '/greet/hello' })).status, 200);
  } finally {
    await other.close();
  }
});

transfers("without a registry in its name it goes into the node's own, from where it is deployed", async (scene) => {
  const { component, folder, run } = scene;
  const path = join(folder, 'greet.wasm');
  writeFileSync(path, component);
  await run('deploy', path);
  const pushed = await run('push', 'team/greet:v1');
  assert.is(pushed.status, 0, pushed.stderr);
  assert.is((await run('deploy', 'team/greet:v1', '--name', 'again')).status, 0);
  assert.is((await answer(scene, 'again')).status, 200);
  assertFailure(await run('push', 'team/nothing:v1'), 'NOTHING_TO_PUSH', 1, /no workload nothing/);
  assertFailure(await run('pull', 'team/greet:v1'), 'NO_REGISTRY_NAMED', 1, /REGISTRY\/REPOSITORY/);
});

transfers(
  'an image is pulled with all its layers and pushed on under another name, byte by byte the same',
  async (scene) => {
    const { registry, layout, run, node } = scene;
    const layers = ['a', 'b', 'c', 'd'].map((name) => layerOf([file(name, name.repeat(500_000))], ''));
    const { digest } = layout.image(layers, 'v1', { Cmd: ['/a'] });
    put(scene, 'v1', 'app');
    const insecure = ['--insecure-registry', registry.address];
    assert.is((await run('pull', ...insecure, `${registry.address}/app:v1`)).status, 0);
    assertFailure(
      await run('push', ...insecure, `${registry.address}/app@sha256:${'0'.repeat(64)}`),
      'NOTHING_TO_PUSH',
      1,
      /./,
    );
    assert.is((await run('push', ...insecure, `${registry.address}/app:v1`)).status, 0);
    // What was pushed to the node goes out under its repository.
    const token = await node.admin.token('ci', 'repository:*:*');
    const host = new URL(node.node.registryUrl as string).host;
    const from = ['copy', '-q', '--preserve-digests', `oci:${layout.folder}:v1`];
    const to = ['--dest-tls-verify=false', '--dest-creds', `ci:${token}`, `docker://${host}/own/app:v7`];
    await promisify(execFile)('skopeo', ['--insecure-policy', ...from, ...to]);
    const pushed = await run('push', ...insecure, `${registry.address}/own/app:v7`);
    assert.is(pushed.status, 0, pushed.stderr);
    const creds = ['--tls-verify=false', '--creds', `tester:${PASSWORD}`];
    const found = JSON.parse(skopeo('inspect', ...creds, `docker://${registry.address}/own/app:v7`));
    assert.is(found.Digest, digest);
  },
);

transfers(
  'the credentials are those of the user: of a helper, of a store, of the file; never in a log or a store',
  async (scene) => {
    const { registry, layout, component, folder, node } = scene;
    addWasmArtifact(layout, component, 'v1');
    put(scene, 'v1', 'greet');
    const pull = ['pull', '--insecure-registry', registry.address, `${registry.address}/greet:v1`];
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    const helper = (name: string, script: string) => {
      writeFileSync(join(bin, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`);
      chmodSync(join(bin, `docker-credential-${name}`), 0o755);
    };
    const env = { DOCKER_CONFIG: join(folder, 'docker'), PATH: `${bin}:${process.env.PATH}` };
    const run = (...args: string[]) => skerry(args, { data: node.data, env });
    scene.config({ auths: {} });
    assertFailure(await run(...pull), 'REGISTRY_DENIED', 1, /log in/);
    const good = `read key; [ "$key" = "${registry.address}" ] && [ "$1" = get ] && echo '{"ServerURL":"x","Username":"tester","Secret":"${PASSWORD}"}'`;
    helper('good', good);
    helper('none', 'echo "credentials not found in native keychain"; exit 1');
    helper('bad', `echo '${PASSWORD} is no JSON'`);
    scene.config({ credHelpers: { [registry.address]: 'good' }, credsStore: 'bad' });
    assert.is((await run(...pull)).status, 0);
    scene.config({ credsStore: 'good' });
    assert.is((await run(...pull)).status, 0);
    scene.config({ credsStore: 'none', auths: { [`https://${registry.address}`]: credentials } });
    assert.is((await run(...pull)).status, 0);
    scene.config({ credsStore: 'bad' });
    const bad = await run(...pull);
    assertFailure(bad, 'CREDENTIAL_HELPER', 1, /docker-credential-bad/);
    assert.not.match(bad.stderr, PASSWORD);
    scene.config({ credsStore: 'absent' });
    assertFailure(await run(...pull), 'CREDENTIAL_HELPER', 1, /not installed/);
    assert.not.match(JSON.stringify(node.log), PASSWORD);
    const kept = execFileSync('sh', ['-c', `grep -rl ${credentials.auth} '${node.data}' || true`], {
      encoding: 'utf8',
    });
    assert.is(kept, '');
  },
);

transfers('a hostile config.json runs nothing and is not quoted', async (scene) => {
  const { registry, folder, run } = scene;
  const pull = ['pull', '--insecure-registry', registry.address, `${registry.address}/greet:v1`];
  const evil = join(folder, 'evil');
  writeFileSync(evil, `#!/bin/sh\ntouch '${folder}/ran'\n`);
  chmodSync(evil, 0o755);
  for (const value of [
    { credsStore: `/../../..${evil}` },
    { credsStore: `x; touch ${folder}/ran` },
    { credHelpers: { [registry.address]: '../evil' } },
    { auths: { [registry.address]: { auth: Buffer.from('nocolon-hunter2').toString('base64') } } },
    { auths: { [registry.address]: 'hunter2' } },
    { auths: { [registry.address]: { auth: Buffer.from('tester:hunter2\r\nx: y').toString('base64') } } },
    ['hunter2'],
  ]) {
    scene.config(value);
    const refused = await run(...pull);
    assert.is(refused.status, 1, JSON.stringify(value));
    assert.match(refused.stderr, /^[^\n]+\[(CREDENTIALS_UNREADABLE|INVALID_REQUEST)\]\n$/);
    assert.not.match(refused.stderr, 'hunter2');
  }
  scene.config(JSON.parse('{"auths": {"__proto__": {"auth": "eDp5"}}}'));
  assertFailure(await run(...pull), 'REGISTRY_DENIED', 1, /./);
  assertFailure(await run(...pull.slice(0, -1), '--', '-x'), 'REFERENCE_INVALID', 1, /./);
  assert.not(existsSync(join(folder, 'ran')));
});

/** A way to the registry that breaks each connection off after so many bytes from it, or to it. */
async function brittle(
  to: string,
  limit: { down?: number; up?: number },
): Promise<{ address: string; broken: () => number; close(): void }> {
  let broken = 0;
  const [host = '', port = ''] = to.split(':');
  const server = createTcpServer((client) => {
    const upstream = connect(Number(port), host);
    const count = (bytes: number | undefined) => {
      let left = bytes ?? Number.POSITIVE_INFINITY;
      return (piece: Buffer) => {
        left -= piece.length;
        if (left > 0) return;
        broken++;
        client.destroy();
        upstream.destroy();
      };
    };
    client.on('data', count(limit.up)).on('error', () => {});
    upstream.on('data', count(limit.down)).on('error', () => {});
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: own } = server.address() as { port: number };
  return { address: `127.0.0.1:${own}`, broken: () => broken, close: () => server.close() };
}

transfers('a pull and a push go on after broken connections from where they stood', async (scene) => {
  const { registry, layout, run, config } = scene;
  const layers = [0, 1].map((i) => layerOf([file(`${i}`, randomBytes(8 * 2 ** 20).toString('latin1'))], ''));
  const { digest } = layout.image(layers, 'v1');
  put(scene, 'v1', 'app');
  const other = await startLocal();
  const down = await brittle(registry.address, { down: 5 * 2 ** 20 });
  const up = await brittle(new URL(other.node.registryUrl as string).host, { up: 5 * 2 ** 20 });
  const own = new URL(scene.node.node.registryUrl as string).host;
  try {
    const there = { auth: Buffer.from(`ci:${await other.admin.token('ci', 'repository:*:*')}`).toString('base64') };
    config({ auths: { [down.address]: credentials, [up.address]: there } });
    const pulled = await run('pull', '--insecure-registry', down.address, `${down.address}/app:v1`);
    assert.is(pulled.status, 0, pulled.stderr);
    assert.ok(down.broken() >= 2, `${down.broken()} broken`);
    const token = await scene.node.admin.token('ci', 'repository:*:*');
    const to = ['--dest-tls-verify=false', '--dest-creds', `ci:${token}`, `docker://${own}/copy:v1`];
    const from = ['copy', '-q', '--preserve-digests', `oci:${layout.folder}:v1`];
    await promisify(execFile)('skopeo', ['--insecure-policy', ...from, ...to]);
    const pushed = await run('push', '--insecure-registry', up.address, `${up.address}/copy:v1`);
    assert.is(pushed.status, 0, pushed.stderr);
    assert.ok(up.broken() >= 2, `${up.broken()} broken`);
    const [image] = (await other.admin.call('GET', '/v1/images')).json().images;
    assert.equal([image.name, image.digest], ['copy:v1', digest]);
  } finally {
    down.close();
    up.close();
    await other.close();
  }
});

transfers('a registry that lies is told, and nothing of it is kept', async (scene) => {
  const { layout, component, run } = scene;
  const { digest } = addWasmArtifact(layout, component, 'v1');
  const manifest = readFileSync(layout.path(digest));
  const blob = (url: string) => readFileSync(layout.path(url.split('/').at(-1) as string));
  const lies: Record<string, (url: string) => Buffer> = {
    'another manifest': (url) =>
      url.includes('/manifests/') ? Buffer.concat([manifest, Buffer.from(' ')]) : blob(url),
    'another component': (url) => {
      if (url.includes('/manifests/')) return manifest;
      const bytes = blob(url);
      if (bytes.length === component.length) bytes[100]! ^= 1;
      return bytes;
    },
  };
  for (const lie of Object.values(lies)) {
    const server = createServer(({ url = '' }, response) => {
      if (url === '/v2/') return response.end('{}');
      response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json');
      if (url.includes('/manifests/')) response.setHeader('docker-content-digest', digest);
      return response.end(lie(url));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    try {
      const refused = await run('pull', '--insecure-registry', address, `${address}/greet:v1`);
      assertFailure(refused, 'IMAGE_BLOB_MISMATCH', 1, /other bytes than its digest says/);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  }
  assert.equal(JSON.parse((await run('images', '--json')).stdout).images, []);
});

if (hasDockerRegistry()) transfers.run();
else console.log('skipped: pull and push, since docker-registry is not installed');
