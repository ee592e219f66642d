/** The clients that people have; one that is not here, and is not quickly installed, is skipped with the reason. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LayoutBuilder, layerOf } from '../../support/image-builder.ts';
import { type Client, OwnRegistry } from '../../support/own-registry.ts';
import { runClient, whyNoClient } from '../../support/registry-clients.ts';
import { file } from '../../support/tar-writer.ts';
import { testUnless } from '../../support/test-unless.ts';

interface Scene {
  registry: OwnRegistry;
  client: Client;
  folder: string;
  /** `HOST:PORT`. */
  host: string;
  layout: LayoutBuilder;
  /** Runs a client with a home of its own; throws with what it said when it fails. */
  run(command: string, ...args: string[]): Promise<string>;
}

const clients = suite<Scene>('clients of the registry');

clients.before.each(async (scene) => {
  scene.registry = await OwnRegistry.start();
  scene.client = await scene.registry.client('repository:team/*:*');
  scene.folder = mkdtempSync(join(tmpdir(), 'skerry-clients-'));
  scene.host = new URL(scene.registry.url).host;
  scene.layout = new LayoutBuilder(join(scene.folder, 'layout'));
  scene.layout.image([layerOf([file('a', 'a'.repeat(100_000))]), layerOf([file('b', 'b')])], 'v1', { Cmd: ['a'] });
  mkdirSync(join(scene.folder, 'home'));
  writeFileSync(join(scene.folder, 'home', 'config.json'), '{}');
  const home = join(scene.folder, 'home');
  // The registry is in this process: it must go on while a client runs.
  scene.run = (command, ...args) => runClient(command, args, { home, cwd: scene.folder });
});
clients.after.each(async ({ registry, folder }) => {
  await registry.end();
  rmSync(folder, { recursive: true, force: true });
});

function withClient(command: string, what: string, work: (scene: Scene) => Promise<void>): void {
  testUnless(clients, whyNoClient(command), `${command}: ${what}`, work);
}

const blobsIn = (folder: string) => readdirSync(join(folder, 'blobs', 'sha256')).sort();

withClient('skopeo', 'pushes, pulls, lists and deletes, with a token and not without', async (scene) => {
  const { host, client, layout, folder } = scene;
  const skopeo = (...args: string[]) => scene.run('skopeo', ...args);
  const image = `docker://${host}/team/app:v1`;
  const creds = `${client.name}:${client.token}`;
  const from = ['--src-tls-verify=false', '--src-creds', creds];
  const to = ['--dest-tls-verify=false', '--dest-creds', creds];
  const at = ['--tls-verify=false', '--creds', creds];
  await skopeo('copy', ...to, `oci:${layout.folder}:v1`, image);
  await skopeo('copy', ...from, image, 'oci:out:v1');
  assert.equal(blobsIn(join(folder, 'out')), blobsIn(layout.folder));
  // Between repositories: what is there is mounted, not sent.
  const other = `docker://${host}/team/other:v1`;
  await skopeo('copy', ...from, ...to, image, other);
  assert.equal(JSON.parse(await skopeo('list-tags', ...at, image.replace(':v1', ''))).Tags, ['v1']);
  await skopeo('delete', ...at, image);
  assert.match(await skopeo('inspect', ...at, image).catch(String), /manifest unknown|has no manifest/i);
  await skopeo('inspect', ...at, other);
  for (const bad of [['--no-creds'], ['--creds', `${client.name}:wrong`]])
    assert.match(await skopeo('inspect', '--tls-verify=false', ...bad, other).catch(String), /unauthorized|auth/i);
  const theirs = skopeo('copy', ...to, `oci:${layout.folder}:v1`, `docker://${host}/theirs:v1`);
  assert.match(await theirs.catch(String), /denied|403|not allow/i);
});

withClient('skopeo', 'logs in, and pushes with what it kept', async ({ run, host, client, layout }) => {
  const file = ['--authfile', 'auth.json'];
  const login = ['login', '--tls-verify=false', ...file, '-u', client.name, '-p'];
  assert.match(await run('skopeo', ...login, 'wrong', host).catch(String), /invalid username\/password|unauthorized/i);
  await run('skopeo', ...login, client.token, host);
  const image = `docker://${host}/team/app:v1`;
  await run('skopeo', 'copy', '--dest-tls-verify=false', ...file, `oci:${layout.folder}:v1`, image);
});

withClient('buildah', 'pushes what it made, and pulls it', async ({ run, host, client, folder }) => {
  const storage = ['--root', join(folder, 'storage'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
  const policy = ['--signature-policy', join(folder, 'policy.json')];
  writeFileSync(policy[1]!, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  const at = ['--tls-verify=false', '--creds', `${client.name}:${client.token}`, ...policy];
  const buildah = (command: string, ...args: string[]) => run('buildah', ...storage, command, ...args);
  writeFileSync(join(folder, 'file'), 'x'.repeat(100_000));
  const container = (await buildah('from', 'scratch')).trim();
  await buildah('copy', '-q', container, join(folder, 'file'), '/file');
  const image = `docker://${host}/team/made:v1`;
  await buildah('commit', ...at, container, image);
  await buildah('rm', container);
  await buildah('pull', ...at, image);
});

withClient('crane', 'pushes, copies, lists and deletes', async ({ run, host, client, layout }) => {
  const crane = (command: string, ...args: string[]) => run('crane', command, '--insecure', ...args);
  await run('crane', 'auth', 'login', '--insecure', '-u', client.name, '-p', client.token, host);
  const image = `${host}/team/app:v1`;
  const other = `${host}/team/other`;
  await crane('push', layout.folder, image);
  await crane('cp', image, `${other}:v2`);
  assert.is(await crane('digest', image), await crane('digest', `${other}:v2`));
  await crane('validate', '--remote', image);
  assert.is(await crane('ls', other), 'v2\n');
  assert.is(await crane('catalog', host), 'team/app\nteam/other\n');
  await crane('delete', `${other}:v2`);
  assert.is(await crane('ls', other), '');
});

withClient('oras', 'pushes a file, attaches another to it, and finds both', async ({ run, host, client, folder }) => {
  const oras = (command: string, ...args: string[]) => run('oras', command, '--plain-http', ...args);
  writeFileSync(join(folder, 'model.bin'), 'x'.repeat(100_000));
  writeFileSync(join(folder, 'sbom.json'), '{}');
  const image = `${host}/team/artifact:v1`;
  await oras('login', '-u', client.name, '-p', client.token, host);
  await oras('push', image, 'model.bin:application/octet-stream');
  await oras('attach', '--artifact-type', 'example/sbom', image, 'sbom.json:application/json');
  assert.match(await oras('discover', '--format', 'json', '--artifact-type', 'example/sbom', image), /example\/sbom/);
  await oras('pull', '-o', 'out', image);
  assert.is(readFileSync(join(folder, 'out', 'model.bin'), 'utf8'), 'x'.repeat(100_000));
});

withClient('regctl', 'pushes in chunks, copies, and deletes a tag', async ({ run, host, client, layout }) => {
  const regctl = (...args: string[]) => run('regctl', ...args);
  await regctl(
    'registry',
    'set',
    '--skip-check',
    '--tls',
    'disabled',
    '--blob-chunk',
    '4096',
    '--blob-max',
    '4096',
    host,
  );
  await regctl('registry', 'login', '-u', client.name, '-p', client.token, host);
  const image = `${host}/team/app:v1`;
  await regctl('image', 'copy', `ocidir://${layout.folder}:v1`, image);
  await regctl('image', 'copy', '--referrers', image, `${host}/team/other:v1`);
  await regctl('manifest', 'get', `${host}/team/other:v1`);
  await regctl('tag', 'delete', image);
  assert.is((await regctl('tag', 'ls', `${host}/team/app`)).trim(), '');
});

clients.run();
