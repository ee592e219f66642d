/** The registry of a real node: its settings, its certificate, and what is deployed from it. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hostPlatform } from '../../images/oci/index.ts';
import { digestOf } from '../../images/store/index.ts';
import { makeCertificate, writeCertificate } from '../support/certificates.ts';
import { assertFailure, skerry } from '../support/cli.ts';
import { removeContainers, whyNoContainers } from '../support/container-node.ts';
import { busyboxLayer, LayoutBuilder, layerOf, types } from '../support/image-builder.ts';
import { Client } from '../support/own-registry.ts';
import { file, folder } from '../support/tar-writer.ts';
import {
  ask,
  discard,
  type LocalNode,
  type ProcessNode,
  spawnNode,
  startLocal,
  startProcess,
  temporaryFolder,
} from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

const test = suite('the registry of a node');

async function clientOf(node: LocalNode | ProcessNode, name = 'test', ...scopes: string[]): Promise<Client> {
  const url = 'node' in node ? node.node.registryUrl : node.registry;
  return new Client(
    url as string,
    name,
    await node.admin.token(name, ...(scopes.length > 0 ? scopes : ['repository:*:*'])),
  );
}

test('it listens where it is told to, or not at all', async () => {
  const off = await startLocal(['--registry', 'off']);
  try {
    assert.is(off.node.registryUrl, null);
    assert.is((await off.admin.call('GET', '/v1/node')).json().registry, null);
  } finally {
    await off.close();
  }
  const on = await startLocal();
  try {
    const { registry } = (await on.admin.call('GET', '/v1/node')).json();
    assert.is((await ask(registry, { path: '/v2/' })).status, 401);
    assert.is(registry, on.node.registryUrl);
  } finally {
    await on.close();
  }
});

test('a port in use, an open network without TLS and half a certificate are refused in one line', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const refused = async (args: string[], pattern: RegExp) => {
    const data = temporaryFolder();
    const { ended, output } = await spawnNode({ data, args });
    assert.is.not(await ended, 0);
    assert.match(output(), pattern);
    assert.is(output().trim().split('\n').length, 1, output());
    rmSync(data, { recursive: true, force: true });
  };
  try {
    await refused(
      ['--registry', `127.0.0.1:${port}`],
      new RegExp(`registry cannot listen on 127.0.0.1:${port}.*PORT_IN_USE`),
    );
    for (const address of ['0.0.0.0:0', '[::]:0', '127.example:0'])
      await refused(['--registry', address], /unencrypted.*--registry-tls-cert.*REGISTRY_NOT_LOOPBACK/);
    await refused(['--registry-tls-cert', 'c.pem'], /registry-tls-cert.*registry-tls-key.*TLS_INCOMPLETE/);
    await refused(['--registry-tls-cert', '/nowhere/c.pem', '--registry-tls-key', 'k.pem'], /TLS_UNREADABLE/);
    await refused(['--registry', 'x'], /--registry: must be HOST:PORT/);
    await refused(['--registry-anonymous-pull', 'A b'], /--registry-anonymous-pull/);
  } finally {
    taken.close();
  }
});

test('with a certificate it speaks TLS, on any address, and takes a new one while it runs', async () => {
  const files = writeCertificate();
  const node = await startLocal([
    '--registry',
    '0.0.0.0:0',
    '--registry-tls-cert',
    files.cert,
    '--registry-tls-key',
    files.key,
  ]);
  try {
    const url = new URL(node.node.registryUrl as string);
    assert.is(url.protocol, 'https:');
    const { port } = url;
    const serving = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false }, () => {
          resolve(socket.getPeerX509Certificate()!.fingerprint256);
          socket.destroy();
        });
        socket.on('error', reject);
      });
    const challenge = await new Promise<string>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path: '/v2/', headers: { host: `localhost:${port}` } };
      request({ ...options, ca: readFileSync(files.cert), agent: false }, (answer) => {
        answer.resume();
        resolve(answer.headers['www-authenticate'] as string);
      })
        .on('error', reject)
        .end();
    });
    assert.match(challenge, new RegExp(`realm="https://localhost:${port}/token"`));
    const before = await serving();
    const next = makeCertificate();
    writeFileSync(files.cert, next.cert);
    writeFileSync(files.key, next.key);
    await node.node.reloadCertificate?.();
    assert.is.not(await serving(), before);
  } finally {
    await node.close();
    rmSync(files.folder, { recursive: true });
  }
});

test('token create prints the token alone; ls shows what each may; rm makes it void', async () => {
  const node = await startLocal();
  const run = (...args: string[]) => skerry(args, { data: node.data });
  try {
    const made = await run(
      'token',
      'create',
      '--name',
      'ci',
      '--scope',
      'repository:team/*:pull,push',
      '--scope',
      'repository:base:pull',
    );
    assert.equal([made.status, made.stderr], [0, '']);
    assert.match(made.stdout, /^skerry_[\w-]{43}\n$/);
    const client = new Client(node.node.registryUrl as string, 'ci', made.stdout.trim());
    await client.pushImage('team/app', 'v1', 'a layer');
    const listed = await run('token', 'ls');
    assert.match(
      listed.stdout,
      /^NAME +CREATED +SCOPE\nci +\S+ \S+ +repository:team\/\*:pull,push\n +repository:base:pull\n$/,
    );
    assert.equal(Object.keys(JSON.parse((await run('token', 'ls', '--json')).stdout).tokens[0]), [
      'name',
      'scopes',
      'createdAt',
    ]);
    assertFailure(
      await run('token', 'create', '--name', 'ci', '--scope', 'repository:*:pull'),
      'TOKEN_EXISTS',
      1,
      /token rm ci/,
    );
    assertFailure(
      await run('token', 'create', '--name', 'x', '--scope', 'all'),
      'TOKEN_INVALID',
      1,
      /"all" is not a scope/,
    );
    assert.is((await run('token', 'rm', 'ci')).status, 0);
    assertFailure(await run('token', 'rm', 'ci'), 'NO_TOKEN', 1, /token ls/);
    assert.match(await client.bearer('repository:team/app:pull').catch(String), /401/);
  } finally {
    await node.close();
  }
});

test('images says what is there and what its removal frees; rm and prune free that, and no more', async () => {
  const node = await startLocal();
  const run = (...args: string[]) => skerry(args, { data: node.data });
  const images = async () => JSON.parse((await run('images', '--json')).stdout).images as Record<string, unknown>[];
  try {
    assert.match((await run('images')).stdout, /There are no images/);
    const client = await clientOf(node);
    const shared = 'x'.repeat(100_000);
    const one = await client.pushImage('team/app', 'v1', shared);
    await client.pushManifest('team/app', 'v2', one.manifest);
    await client.pushImage('other', 'v1', shared);
    const alone = await client.pushImage('team/app', 'v3', 'y'.repeat(50_000));
    const listed = await images();
    assert.equal(
      listed.map(({ name }) => name),
      ['other:v1', 'team/app:v1', 'team/app:v2', 'team/app:v3'],
    );
    const [, , , v3] = listed;
    assert.equal([v3!.digest, v3!.size, v3!.origin], [alone.digest, v3!.frees, 'pushed']);
    // Two tags of one manifest, and its layer in another repository: the name alone goes.
    assert.is(listed[1]!.frees, 0);
    assert.match((await run('image', 'rm', 'team/app:v1')).stdout, /team\/app:v1 is removed: 0B freed/);
    const stored = () => node.admin.call('GET', '/v1/images').then((answer) => answer.json().images.length);
    assert.is(await stored(), 3);
    const removed = JSON.parse((await run('image', 'rm', 'team/app:v3', '--json')).stdout).removed[0];
    assert.is(removed.bytes, v3!.size);
    assert.is((await client.ask({ path: `/v2/team/app/blobs/${alone.layer}` })).status, 404);
    assert.is((await client.ask({ path: `/v2/team/app/blobs/${one.layer}` })).status, 200);
    // The layer stays, since the other repository has it.
    await run('image', 'rm', 'team/app:v2');
    assert.is((await client.ask({ path: `/v2/other/blobs/${one.layer}` })).status, 200);
    assertFailure(await run('image', 'rm', 'team/app:v2'), 'IMAGE_NOT_HERE', 1, /team\/app:v2/);
    assertFailure(await run('image', 'rm', 'Bad'), 'REFERENCE_INVALID', 1, /Bad/);
    // A signature is no image: shown when it is asked for, and gone with what it signs.
    const signed = await client.pushImage('team/signed', 'v1', 'w'.repeat(3000));
    const tag = `${signed.digest.replace(':', '-')}.sig`;
    await client.pushImage('team/signed', tag, 'v'.repeat(2000));
    assert.not.match((await run('images')).stdout, /sha256-/);
    assert.match((await run('images', '-a')).stdout, new RegExp(`^team/signed:${tag} `, 'm'));
    const freed = (await images()).find(({ name }) => name === 'team/signed:v1')!.frees as number;
    assert.ok(freed > 5000, 'both are freed');
    assert.is(JSON.parse((await run('image', 'rm', 'team/signed:v1', '--json')).stdout).removed[0].bytes, freed);
    assert.not.match((await run('images', '-a')).stdout, /team\/signed/);
    // What has just been pushed may belong to an image that is still on its way.
    await client.pushBlob('team/next', Buffer.from('z'.repeat(3000)));
    const prune = (await run('image', 'prune', '--dry-run')).stdout;
    assert.match(prune, /^0B in 0 blobs would be freed/);
    assert.match((await run('image', 'prune')).stdout, /^0B in 0 blobs freed/);
    assert.is((await client.ask({ method: 'HEAD', path: `/v2/other/manifests/v1` })).status, 200);
  } finally {
    await node.close();
  }
});

test('tag gives an image another name: in another repository, with all of an index, and of another registry', async () => {
  const node = await startLocal();
  const run = (...args: string[]) => skerry(args, { data: node.data });
  try {
    const client = await clientOf(node);
    const { digest, manifest } = await client.pushImage('mine', 'latest', 'x'.repeat(5000));
    assert.is((await run('tag', 'mine', 'team/app:v1')).stdout, `team/app:v1 is ${digest}\n`);
    assert.is((await run('image', 'rm', 'mine')).status, 0);
    for (const { digest: blob } of manifest.layers)
      assert.is((await client.ask({ path: `/v2/team/app/blobs/${blob}` })).status, 200);
    const size = JSON.stringify(manifest).length;
    const parts = {
      schemaVersion: 2,
      mediaType: types.index,
      manifests: [{ mediaType: types.manifest, digest, size }],
    };
    const index = digestOf(Buffer.from(JSON.stringify(parts)));
    assert.is((await client.pushManifest('team/app', 'many', parts)).status, 201);
    assert.is((await run('tag', `team/app@${index}`, 'other')).stdout, `other:latest is ${index}\n`);
    await run('image', 'rm', 'team/app:v1', 'team/app:many');
    assert.is((await client.ask({ path: `/v2/other/manifests/${digest}` })).status, 200);
    assert.is((await run('push', 'other')).status, 0, 'an index of this node is here already');
    assertFailure(await run('tag', 'mine', 'x'), 'IMAGE_NOT_HERE', 1, /mine/);
    assertFailure(await run('tag', 'registry.example/none', 'x'), 'IMAGE_NOT_HERE', 1, /registry\.example/);
    assertFailure(await run('tag', 'other', 'Upper'), 'REFERENCE_INVALID', 1, /Upper/);
    assertFailure(await run('tag', 'other', `x@${digest}`), 'IMAGE_NAME_NEEDED', 1, /x@sha256/);
  } finally {
    await node.close();
  }
});

const why = await whyNoContainers();
testUnless(test, why, 'an image whose digests are of sha512 is deployed by its tag and by its digest', async () => {
  const node = await startLocal();
  const run = (...args: string[]) => skerry(args, { data: node.data });
  try {
    const client = await clientOf(node);
    const put = async (mediaType: string, content: Buffer) => {
      const digest = digestOf(content, 'sha512');
      const path = `/v2/team/web/blobs/uploads/?digest=${digest}`;
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(content.length) };
      assert.is((await client.ask({ method: 'POST', path, headers, body: content })).status, 201);
      return { mediaType, digest, size: content.length };
    };
    const layers = [busyboxLayer(), layerOf([folder('www/'), file('www/index.html', 'sha512')])];
    const config = {
      ...hostPlatform(),
      config: { Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    };
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: types.manifest,
        config: await put(types.config, Buffer.from(JSON.stringify(config))),
        layers: await Promise.all(layers.map(({ blob, mediaType }) => put(mediaType, blob))),
      }),
    );
    const digest = digestOf(manifest, 'sha512');
    assert.is((await client.pushManifest('team/web', `${digest}?tag=v1`, manifest.toString())).status, 201);
    for (const reference of [`team/web@${digest}`, 'team/web:v1']) {
      const deployed = await run('deploy', reference);
      assert.is(deployed.status, 0, deployed.stderr);
      assert.is((await ask(node.url, { path: '/web/' })).body.toString(), 'sha512');
      await run('rm', 'web');
    }
    assertFailure(await run('deploy', `team/web@${digest.slice(0, -1)}`), 'REFERENCE_INVALID', 1, /sha512: and 128/);
  } finally {
    await node.close();
  }
});

const pushed = 'an image is pushed by skopeo, deployed by its name, and outlives its tag, its removal and a restart';
if (why !== null) {
  console.log(`skipped: ${pushed}, since ${why}`);
  test.skip(pushed);
} else {
  test(pushed, async () => {
    const place = temporaryFolder();
    let node = await startProcess();
    const run = (...args: string[]) => skerry(args, { data: node.data });
    const push = (text: string) => {
      const layout = new LayoutBuilder(join(place, text));
      const config = { Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'], ExposedPorts: { '8080/tcp': {} } };
      layout.image([busyboxLayer(), layerOf([folder('www/'), file('www/index.html', text)])], 'v1', config);
      const { host } = new URL(node.registry as string);
      const to = ['--dest-tls-verify=false', '--dest-creds', `ci:${token}`, `docker://${host}/team/web:v1`];
      const done = spawnSync('skopeo', ['copy', `oci:${layout.folder}:v1`, ...to], { encoding: 'utf8' });
      assert.is(done.status, 0, done.stderr);
    };
    const token = await node.admin.token('ci', 'repository:team/*:pull,push');
    const page = async () => (await ask(node.url, { path: '/web/' })).body.toString();
    try {
      assertFailure(await run('deploy', 'team/web:v1'), 'IMAGE_NOT_HERE', 1, /team\/web:v1/);
      push('one');
      const first = await run('deploy', 'team/web:v1');
      assert.is(first.status, 0, first.stderr);
      assert.is(await page(), 'one');
      assertFailure(await run('deploy', 'team/web:v2'), 'IMAGE_NOT_FOUND', 1, /team\/web:v1/);
      const { host } = new URL(node.registry as string);
      assert.is((await run('deploy', `${host}/team/web:v1`, '--name', 'web')).status, 0, 'as it was pushed');
      // The tag moves: what runs stays, until it is deployed again.
      push('two');
      assert.is(await page(), 'one');
      assert.is((await run('deploy', 'team/web:v1')).status, 0);
      assert.is(await page(), 'two');
      const [image] = JSON.parse((await run('images', '--json')).stdout).images;
      assert.equal([image.name, image.usedBy, image.frees], ['team/web:v1', ['web'], 0]);
      const removed = await run('image', 'rm', 'team/web:v1');
      assert.match(removed.stdout, /web keeps what it is made from/);
      await run('image', 'prune');
      node.child.kill('SIGKILL');
      await node.ended;
      node = await startProcess({ data: node.data });
      assert.is(await page(), 'two');
      assert.is((await run('rollback', 'web')).status, 0);
      assert.is(await page(), 'one');
    } finally {
      await discard(node);
      await removeContainers(node.data);
      rmSync(place, { recursive: true, force: true });
    }
  });
}

test('a node that is killed in the midst of a push goes on with it, and has nothing broken', async () => {
  let node = await startProcess();
  try {
    const before = await clientOf(node, 'before');
    await before.pushImage('app', 'v1', 'a layer');
    const location = await before.begin('app');
    const patch = await before.ask({ method: 'PATCH', path: location, body: Buffer.alloc(500_000) });
    assert.is(patch.status, 202);
    const hanging = await before.open('PATCH', location, { 'content-length': 1e6 });
    hanging.sent.write(Buffer.alloc(400_000));
    node.child.kill('SIGKILL');
    await node.ended;
    node = await startProcess({ data: node.data });
    const after = await clientOf(node, 'after');
    assert.is((await after.ask({ path: '/v2/app/manifests/v1' })).status, 200);
    const { headers, status } = await after.ask({ path: location });
    assert.is(status, 204);
    assert.ok(Number((headers.range as string).slice(2)) + 1 >= 500_000);
    assert.is((await after.ask({ method: 'DELETE', path: location })).status, 204);
  } finally {
    await discard(node);
  }
});

test.run();
