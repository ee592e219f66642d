/** Components that come as OCI artifacts: deployed by their name, from the node's registry and from a folder. */
import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { digestOf } from '../../images/store/index.ts';
import { assertFailure, skerry } from '../support/cli.ts';
import { guest } from '../support/guests.ts';
import { LayoutBuilder, layerOf } from '../support/image-builder.ts';
import { runClient, whyNoClient } from '../support/registry-clients.ts';
import { file } from '../support/tar-writer.ts';
import { ask, type LocalNode, startLocal, temporaryFolder } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';
import { type ArtifactChange, addWasmArtifact } from '../support/wasm-artifacts.ts';

interface Scene {
  node: LocalNode;
  folder: string;
  layout: LayoutBuilder;
  component: Buffer;
  run(...args: string[]): ReturnType<typeof skerry>;
}

const artifacts = suite<Scene>('Wasm as OCI artifacts');
artifacts.before.each(async (scene) => {
  scene.node = await startLocal();
  scene.folder = temporaryFolder();
  scene.layout = new LayoutBuilder(join(scene.folder, 'layout'));
  scene.component = readFileSync(await guest('behaviours'));
  scene.run = (...args) => skerry(args, { data: scene.node.data });
});
artifacts.after.each(async ({ node, folder }) => {
  await node.close();
  rmSync(folder, { recursive: true, force: true });
});

const answer = async ({ node }: Scene, name: string) =>
  (await ask(node.url, { path: `/${name}/hello` })).body.toString();

/** To the node's own registry. */
async function push({ node, layout }: Scene, tag: string, repository: string): Promise<void> {
  const token = await node.admin.token('ci', 'repository:*:pull,push');
  const { host } = new URL(node.node.registryUrl as string);
  const from = `oci:${layout.folder}:${tag}`;
  const to = ['--dest-tls-verify=false', '--dest-creds', `ci:${token}`, `docker://${host}/${repository}:${tag}`];
  // The node is in this process: it must go on meanwhile.
  await promisify(execFile)('skopeo', ['--insecure-policy', 'copy', '-q', '--preserve-digests', from, ...to]);
}

artifacts(
  'what was pushed to the node is deployed by its name as a component, and outlives the name',
  async (scene) => {
    const { layout, component, run } = scene;
    addWasmArtifact(layout, component, 'v1');
    await push(scene, 'v1', 'team/greet');
    const deployed = await run('deploy', 'team/greet:v1', '--json');
    assert.is(deployed.status, 0, deployed.stderr);
    const [revision] = JSON.parse(deployed.stdout).status.revisions ?? JSON.parse(deployed.stdout).revisions;
    assert.is(revision.isolation, 'wasm');
    const before = await answer(scene, 'greet');
    assert.match(before, /\S/);
    const [image] = JSON.parse((await run('images', '--json')).stdout).images;
    assert.equal([image.name, image.usedBy], ['team/greet:v1', ['greet']]);
    const removed = await run('image', 'rm', 'team/greet:v1');
    assert.match(removed.stdout, /greet keeps what it is made from/);
    await run('image', 'prune');
    assert.is((await run('deploy', 'team/greet:v1')).status, 1);
    assert.is(await answer(scene, 'greet'), before);
  },
);

artifacts(
  'a layout of one is deployed from its folder, with an empty configuration and in an index too',
  async (scene) => {
    const { layout, component, folder, run } = scene;
    addWasmArtifact(layout, component, 'full');
    addWasmArtifact(layout, component, 'empty', { config: null });
    for (const tag of ['full', 'empty']) {
      const deployed = await run('deploy', `oci:${layout.folder}:${tag}`, '--name', tag);
      assert.is(deployed.status, 0, deployed.stderr);
      assert.match(await answer(scene, tag), /\S/);
    }
    const index = new LayoutBuilder(join(folder, 'index'));
    const manifest = addWasmArtifact(index, component, 'unused');
    const foreign = index.manifest([layerOf([file('a', 'b')])], { os: 'windows' });
    const manifests = [
      { ...foreign, platform: { os: 'windows', architecture: 'amd64' } },
      { ...manifest, platform: { os: 'wasip2', architecture: 'wasm' } },
    ];
    const type = 'application/vnd.oci.image.index.v1+json';
    index.name(index.json({ schemaVersion: 2, mediaType: type, manifests }, type), 'many');
    const deployed = await run('deploy', `oci:${index.folder}:many`, '--name', 'many');
    assert.is(deployed.status, 0, deployed.stderr);
  },
);

artifacts('one that cannot run here is refused with the reason, before anything is kept of it', async (scene) => {
  const { layout, component, run } = scene;
  const bad: Record<string, [ArtifactChange, string, RegExp]> = {
    two: [{ more: [layout.blob('more', 'application/wasm')] }, 'WASM_LAYERS', /2 layers/],
    tar: [
      { layerType: 'application/vnd.oci.image.layer.v1.tar+gzip' },
      'IMAGE_MEDIA_TYPE',
      /the layer.*layer\.v1\.tar\+gzip/,
    ],
    old: [{ configType: 'application/vnd.wasm.config.v1+json' }, 'IMAGE_NOT_A_CONTAINER', /wasm\.config\.v1/],
    empty: [{ configType: 'application/vnd.oci.empty.v1+json' }, 'IMAGE_NOT_A_CONTAINER', /oci\.empty/],
    amd64: [{ config: { architecture: 'amd64', os: 'linux' } }, 'WASM_PLATFORM', /linux\/amd64/],
    module: [{ config: { os: 'wasip1' } }, 'WASM_PLATFORM', /wasip1\/wasm.*wasip2/],
    command: [
      { config: { component: { exports: [], imports: [], target: 'wasi:cli/command@0.2.0' } } },
      'WASM_TARGET',
      /wasi:cli\/command/,
    ],
    digests: [{ config: { layerDigests: [`sha256:${'0'.repeat(64)}`] } }, 'IMAGE_MALFORMED', /layerDigests/],
    shape: [{ config: { os: 5 } }, 'IMAGE_MALFORMED', /os of its configuration/],
  };
  for (const [tag, [change, code, pattern]] of Object.entries(bad)) {
    addWasmArtifact(layout, component, tag, change);
    assertFailure(await run('deploy', `oci:${layout.folder}:${tag}`), code, 1, pattern);
  }
  addWasmArtifact(layout, Buffer.from('not wasm'), 'text');
  assertFailure(await run('deploy', `oci:${layout.folder}:text`), 'NOT_WASM', 1, /./);
  assert.equal(JSON.parse((await run('ls', '--json')).stdout).workloads, []);
});

artifacts('a container image is refused by a node that runs none, before its layers are read', async (scene) => {
  const { layout, run } = scene;
  const layer = layerOf([file('a', 'x')]);
  layout.image([layer], 'v1');
  layout.remove(layout.blob(layer.blob, layer.mediaType).digest);
  const refused = await run('deploy', `oci:${layout.folder}:v1`);
  // Where containers run, the layer is missed.
  assert.match(refused.stderr, /\[(IMAGES_NOT_RUN|IMAGE_BLOB_MISSING)\]/);
});

/** Runs a client that has logged in to the node's own registry. */
async function client({ node, folder }: Scene, command: string, ...args: string[]): Promise<string> {
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({ auths: { [hostOf(node)]: { auth: await authOf(node) } } }),
  );
  return runClient(command, args, { home: folder, cwd: folder });
}
const hostOf = (node: LocalNode) => new URL(node.node.registryUrl as string).host;
const tokens = new WeakMap<LocalNode, string>();
async function authOf(node: LocalNode): Promise<string> {
  const token = tokens.get(node) ?? (await node.admin.token('client', 'repository:*:pull,push'));
  tokens.set(node, token);
  return Buffer.from(`client:${token}`).toString('base64');
}

testUnless(
  artifacts,
  whyNoClient('oras'),
  'oras: what it pushes is deployed, and what is pushed it pulls',
  async (scene) => {
    const { node, component, folder, run } = scene;
    const host = hostOf(node);
    writeFileSync(join(folder, 'greet.wasm'), component);
    const config = { architecture: 'wasm', os: 'wasip2', layerDigests: [digestOf(component)] };
    writeFileSync(join(folder, 'wasm.json'), JSON.stringify(config));
    const types = ['--config', 'wasm.json:application/vnd.wasm.config.v0+json', 'greet.wasm:application/wasm'];
    await client(scene, 'oras', 'push', '--plain-http', `${host}/team/greet:v1`, ...types);
    const deployed = await run('deploy', `${host}/team/greet:v1`);
    assert.is(deployed.status, 0, deployed.stderr);
    assert.match(await answer(scene, 'greet'), /\S/);
    assert.is((await run('push', 'sent/greet:v2')).status, 0);
    await client(scene, 'oras', 'pull', '--plain-http', '-o', 'out', `${host}/sent/greet:v2`);
    assert.equal(readFileSync(join(folder, 'out', 'component.wasm')), component);
  },
);

testUnless(
  artifacts,
  whyNoClient('wkg'),
  'wkg: what it pushes is deployed, and what is pushed it pulls',
  async (scene) => {
    const { node, component, folder, run } = scene;
    const host = hostOf(node);
    writeFileSync(join(folder, 'greet.wasm'), component);
    await client(scene, 'wkg', 'oci', 'push', '--insecure', host, `${host}/team/greet:v1`, 'greet.wasm');
    const deployed = await run('deploy', 'team/greet:v1');
    assert.is(deployed.status, 0, deployed.stderr);
    assert.match(await answer(scene, 'greet'), /\S/);
    assert.is((await run('push', 'sent/greet:v2')).status, 0);
    await client(scene, 'wkg', 'oci', 'pull', '--insecure', host, `${host}/sent/greet:v2`, '-o', 'pulled.wasm');
    assert.equal(readFileSync(join(folder, 'pulled.wasm')), component);
  },
);

artifacts.run();
