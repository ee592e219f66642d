/** Trust on a real node: who may run what, by the commands of its operator and by cosign, skopeo and a bare client. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { digestOf } from '../../images/store/index.ts';
import { signatureTag } from '../../images/trust/index.ts';
import { assertFailure, skerry } from '../support/cli.ts';
import { whyNoContainers } from '../support/container-node.ts';
import { Cosign, PASSWORD, whyNoCosign } from '../support/cosign.ts';
import { busyboxLayer, LayoutBuilder, layerOf, types } from '../support/image-builder.ts';
import { Client } from '../support/own-registry.ts';
import { Sigstore } from '../support/sigstore.ts';
import { file, folder } from '../support/tar-writer.ts';
import { ask, discard, type LocalNode, startLocal, startProcess, temporaryFolder } from '../support/test-node.ts';

interface Scene {
  node: LocalNode;
  client: Client;
  place: string;
  host: string;
  run(...args: string[]): ReturnType<typeof skerry>;
  /** Makes a key pair; returns the paths of the private and the public key. */
  keys(name: string): { key: string; pub: string };
}

const test = suite<Scene>('trust on a node');

test.before.each(async (scene) => {
  scene.node = await startLocal();
  scene.place = temporaryFolder();
  scene.run = (...args) => skerry(args, { data: scene.node.data, env: { COSIGN_PASSWORD: PASSWORD } });
  const url = scene.node.node.registryUrl as string;
  scene.host = new URL(url).host;
  scene.client = new Client(url, 'test', await scene.node.admin.token('test', 'repository:*:*'));
  scene.keys = (name) => makeKeys(scene.place, name);
});
test.after.each(async ({ node, place }) => {
  await node.close();
  rmSync(place, { recursive: true, force: true });
});

function makeKeys(place: string, name: string, type: 'pkcs8' | 'sec1' = 'pkcs8') {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const files = { key: join(place, `${name}.key`), pub: join(place, `${name}.pub`) };
  writeFileSync(files.key, privateKey.export({ type, format: 'pem' }));
  writeFileSync(files.pub, publicKey.export({ type: 'spki', format: 'pem' }));
  return files;
}

const inspect = async ({ run }: Scene, name: string) => JSON.parse((await run('inspect', name, '--json')).stdout);
/** An image without a tag, as clients push it that name a digest. */
async function pushByDigest(client: Client, repository: string, content: string) {
  const config = Buffer.from('{}');
  const layer = Buffer.from(content);
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: await client.pushBlob(repository, config), size: config.length },
    layers: [{ mediaType: types.layer, digest: await client.pushBlob(repository, layer), size: layer.length }],
  });
  const digest = digestOf(Buffer.from(manifest));
  const answer = await client.pushManifest(repository, digest, manifest);
  assert.is(answer.status, 201, String(answer.body));
  return { manifest, digest };
}

test('policies are set, listed, replaced and removed, and outlive the node', async () => {
  let node = await startProcess();
  const place = temporaryFolder();
  const run = (...args: string[]) => skerry(args, { data: node.data });
  try {
    assert.match((await run('policy', 'ls')).stdout, /There are no policies/);
    const { pub } = makeKeys(place, 'one');
    assert.match(
      (await run('policy', 'set', 'team/**', '--key', pub)).stdout,
      /^images of team\/\* must be signed by key /,
    );
    node.child.kill('SIGKILL');
    await node.ended;
    node = await startProcess({ data: node.data });
    const listed = JSON.parse((await run('policy', 'ls', '--json')).stdout).policies;
    assert.equal(
      listed.map(({ pattern }: { pattern: string }) => pattern),
      ['team/*'],
    );
    const next = makeKeys(place, 'two').pub;
    await run('policy', 'set', 'team/*', '--key', pub, '--key', next);
    assert.match((await run('policy', 'ls')).stdout, /team\/\* .* key [0-9a-f]{12} or key [0-9a-f]{12}/);
    const sigstore = new Sigstore();
    writeFileSync(join(place, 'root.json'), sigstore.trustRoot());
    sigstore.end();
    const who = ['--identity', 'ci@example.com', '--issuer', 'https://login.example'];
    const byIdentity = await run('policy', 'set', '*', ...who, '--trust-root', join(place, 'root.json'));
    assert.match(byIdentity.stdout, /^images of \* must be signed by ci@example\.com of https:/, byIdentity.stderr);
    assert.is((await run('policy', 'rm', 'team/*')).status, 0);
    assertFailure(await run('policy', 'rm', 'team/*'), 'NO_POLICY', 1, /team\/\*/);
  } finally {
    await discard(node);
    rmSync(place, { recursive: true, force: true });
  }
});

test('a policy that could not hold is refused: a private key, a weak one, no authority, half an identity', async (scene) => {
  const { run, keys, place } = scene;
  const { key, pub } = keys('one');
  const set = (...args: string[]) => run('policy', 'set', ...args);
  assertFailure(await set('team/*', '--key', key), 'POLICY_INVALID', 1, /private key/);
  const write = (name: string, text: string) => {
    writeFileSync(join(place, name), text);
    return join(place, name);
  };
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ type: 'spki', format: 'pem' });
  assertFailure(await set('team/*', '--key', write('small', small as string)), 'POLICY_INVALID', 1, /rsa/);
  const twice = readFileSync(pub, 'utf8').repeat(2);
  assertFailure(await set('team/*', '--key', write('twice', twice)), 'POLICY_INVALID', 1, /one public key/);
  for (const pattern of ['Team/*', 'team *', '../x?', 'a'.repeat(301)])
    assert.is.not((await set(pattern, '--key', pub)).status, 0, pattern);
  const who = ['--identity', 'me@example.com', '--issuer', 'https://login.example'];
  assertFailure(await set('team/*', ...who), 'USAGE', 2, /--trust-root/);
  assertFailure(await set('team/*', '--key', pub, ...who), 'USAGE', 2, /stands alone/);
  assertFailure(await set('team/*', ...who, '--trust-root', write('r', '{}')), 'POLICY_INVALID', 1, /trusted_root/);
  const sigstore = new Sigstore();
  const timeless = write('t', sigstore.trustRoot({ timestamps: false }));
  assertFailure(
    await set('team/*', ...who, '--trust-root', timeless),
    'POLICY_INVALID',
    1,
    /neither a transparency log/,
  );
  sigstore.end();
  assert.match((await run('policy', 'ls')).stdout, /There are no policies/);
});

test('under a policy a tag is given only to what is signed: pushed by digest, signed, tagged', async (scene) => {
  const { run, client, keys } = scene;
  const { key, pub } = keys('one');
  await run('policy', 'set', 'team/*', '--key', pub);
  const { manifest, digest } = await pushByDigest(client, 'team/app', 'one');
  const refused = await client.pushManifest('team/app', 'v1', manifest);
  assert.is(refused.status, 403);
  assert.match(String(refused.body), /"DENIED".*no signature.*push it by its digest, sign that/);
  assert.is((await client.pushManifest('team/app', `${digest}?tag=v1`, manifest)).status, 403, 'nor by the query');
  assert.is((await client.ask({ path: '/v2/team/app/manifests/v1' })).status, 404);
  const signed = await run('sign', `team/app@${digest}`, '--key', key);
  assert.is(signed.stdout, `team/app@${digest} is signed\n`, signed.stderr);
  assert.is((await client.pushManifest('team/app', 'v1', manifest)).status, 201);
  // Nor is it given by the owner's own hand.
  const free = await client.pushImage('free/app', 'v0', 'three');
  assertFailure(await run('tag', 'free/app:v0', 'team/app:v1'), 'UNSIGNED', 1, /no signature/);
  assertFailure(await run('tag', `free/app@${free.digest}`, 'team/new'), 'UNSIGNED', 1, /no signature/);
  // The tag cannot move to what is not signed, and another repository is not concerned.
  const other = await pushByDigest(client, 'team/app', 'two');
  assert.is((await client.pushManifest('team/app', 'v1', other.manifest)).status, 403);
  assert.is((await client.ask({ path: '/v2/team/app/manifests/v1' })).headers['docker-content-digest'], digest);
  await client.pushImage('free/app', 'v1', 'two');
});

test("a signature's own tag is free, and what hides behind such a tag is not deployed", async (scene) => {
  const { run, client, keys } = scene;
  await run('policy', 'set', 'team/*', '--key', keys('one').pub);
  const { manifest, digest } = await pushByDigest(client, 'team/app', 'one');
  for (const tag of [signatureTag(digest), signatureTag(digest).replace('.sig', '.att'), digest.replace(':', '-')])
    assert.is((await client.pushManifest('team/app', tag, manifest)).status, 201, tag);
  for (const tag of [`x${signatureTag(digest)}`, `${signatureTag(digest)}.v1`, 'sha256-1.sig'])
    assert.is((await client.pushManifest('team/app', tag, manifest)).status, 403, tag);
  assertFailure(await run('deploy', `team/app:${signatureTag(digest)}`), 'NOT_SIGNED', 1, /team\/app:sha256-/);
});

test('sign takes plain keys in both forms, and refuses what is no key, or another image than was asked for', async (scene) => {
  const { run, client, place, keys } = scene;
  const { digest } = await client.pushImage('team/app', 'v1', 'one');
  const sec1 = makeKeys(place, 'sec1', 'sec1');
  for (const { key } of [keys('pkcs8'), sec1]) assert.is((await run('sign', 'team/app:v1', '--key', key)).status, 0);
  assertFailure(await run('sign', 'team/app:v1', '--key', sec1.pub), 'KEY_INVALID', 1, /no private key/);
  const rsa = join(place, 'rsa.key');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(rsa, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  assertFailure(await run('sign', 'team/app:v1', '--key', rsa), 'KEY_INVALID', 1, /P-256/);
  assertFailure(await run('sign', 'team/app:v2', '--key', sec1.key), 'IMAGE_NOT_HERE', 1, /team\/app:v2/);
  const elsewhere = await run('sign', 'registry.example/team/app:v1', '--key', sec1.key);
  assertFailure(elsewhere, 'NOT_OF_THIS_REGISTRY', 1, /registry\.example/);
  await run('policy', 'set', 'team/*', '--key', sec1.pub);
  const { signatures, policies } = await inspect(scene, 'team/app:v1');
  assert.is(policies[0].met, true);
  assert.equal(signatures.map(({ by }: { by: string | null }) => by !== null).sort(), [false, true]);
  assert.is((await inspect(scene, `team/app@${digest}`)).digest, digest);
});

test('a signature that is not about the image it is sent for is not attached', async ({ node, client }) => {
  const { digest } = await client.pushImage('team/app', 'v1', 'one');
  const payload = (reference: string, about: string) =>
    Buffer.from(
      JSON.stringify({
        critical: {
          identity: { 'docker-reference': reference },
          image: { 'docker-manifest-digest': about },
          type: 'cosign container image signature',
        },
      }),
    ).toString('base64');
  const attach = (body: object) =>
    node.admin.call('POST', '/v1/images/signatures', { reference: 'team/app:v1', signature: 'AAAA', ...body });
  assert.match(
    (await attach({ payload: payload('team/app', `sha256:${'0'.repeat(64)}`) })).body.toString(),
    /another image/,
  );
  assert.match((await attach({ payload: payload('team/other', digest) })).body.toString(), /SIGNATURE_INVALID/);
  assert.match((await attach({ payload: 'bnVsbA==' })).body.toString(), /SIGNATURE_INVALID/);
  assert.is((await attach({ payload: 'not base64' })).status, 400);
  assert.is((await attach({ payload: payload('team/app', digest) })).status, 201);
});

test('floods and huge annotations cost the image its signature at worst, not the node its memory', async (scene) => {
  const { run, client, keys } = scene;
  const { key, pub } = keys('one');
  const { digest } = await client.pushImage('team/app', 'v1', 'one');
  await run('policy', 'set', 'team/*', '--key', pub);
  const blob = Buffer.from('{}');
  const descriptor = { mediaType: types.config, digest: await client.pushBlob('team/app', blob), size: blob.length };
  const layer = {
    mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
    digest: descriptor.digest,
    size: 2,
    annotations: { 'dev.cosignproject.cosign/signature': 'A'.repeat(3 * 2 ** 20) },
  };
  const manifest = { schemaVersion: 2, mediaType: types.manifest, config: descriptor, layers: [layer] };
  assert.is((await client.pushManifest('team/app', signatureTag(digest), manifest)).status, 201);
  assert.match((await inspect(scene, 'team/app:v1')).signatures[0].why, /more than 4096 characters/);
  assertFailure(await run('deploy', 'team/app:v1'), 'SIGNATURE_REFUSED', 1, /4096/);
  // Many, and blobs that are longer than their manifest says: they count for nothing, and are not read.
  const large = Buffer.alloc(3 * 2 ** 20, ' ');
  const liar = { ...layer, mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json', size: 2 };
  const lying = { ...liar, digest: await client.pushBlob('team/app', large), annotations: {} };
  for (let i = 0; i < 20; i++) {
    const subject = { mediaType: types.manifest, digest, size: 1 };
    const annotations = { number: String(i) };
    const document = { ...manifest, subject, annotations, layers: Array(100).fill(lying) };
    const answer = await client.pushManifest('team/app', digestOf(Buffer.from(JSON.stringify(document))), document);
    assert.is(answer.status, 201);
  }
  const flooded = await inspect(scene, 'team/app:v1');
  assert.equal([flooded.signatures.length, flooded.attachments.length, flooded.policies[0].met], [1, 100, false]);
  // What is signed beside it counts.
  assert.is((await run('sign', 'team/app:v1', '--key', key)).status, 0);
  assert.is((await inspect(scene, 'team/app:v1')).policies[0].met, true);
});

test('inspect shows who uses an image, its layers, and what is attached: SBOM, provenance, others', async (scene) => {
  const { client, run } = scene;
  const { digest, manifest } = await client.pushImage('team/app', 'v1', 'one');
  const subject = { mediaType: types.manifest, digest, size: 1 };
  const attach = async (artifactType: string, mediaType: string, content: string, annotations = {}) => {
    const blob = Buffer.from(content);
    const config = Buffer.from('{}');
    const empty = {
      mediaType: 'application/vnd.oci.empty.v1+json',
      digest: await client.pushBlob('team/app', config),
      size: 2,
    };
    const layers = [{ mediaType, digest: await client.pushBlob('team/app', blob), size: blob.length, annotations }];
    const document = { schemaVersion: 2, mediaType: types.manifest, artifactType, config: empty, layers, subject };
    const answer = await client.pushManifest('team/app', digestOf(Buffer.from(JSON.stringify(document))), document);
    assert.is(answer.status, 201, String(answer.body));
  };
  await attach('application/spdx+json', 'application/spdx+json', '{"spdxVersion":"SPDX-2.3"}');
  await attach('application/vnd.cyclonedx+json', 'application/vnd.cyclonedx+json', '{"bomFormat":"CycloneDX"}');
  const statement = '{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1"}';
  await attach('application/vnd.in-toto+json', 'application/vnd.in-toto+json', statement);
  await attach('application/x-notes', 'text/plain', 'notes');
  const view = await inspect(scene, 'team/app:v1');
  assert.is(view.digest, digest);
  assert.equal(view.tags, ['v1']);
  assert.equal(
    view.layers.map((layer: { digest: string }) => layer.digest),
    manifest.layers.map((each) => each.digest),
  );
  const kinds = view.attachments.map(({ kind, size }: { kind: string; size: number }) => `${kind} ${size}`).sort();
  assert.equal(kinds, ['SBOM (CycloneDX) 25', 'SBOM (SPDX) 26', 'other 5', `provenance ${statement.length}`]);
  const { stdout } = await run('inspect', 'team/app:v1');
  assert.match(stdout, /policy +none/);
  assert.match(stdout, /provenance +https:\/\/slsa\.dev\/provenance\/v1/);
  assertFailure(await run('inspect', 'team/none:v1'), 'IMAGE_NOT_HERE', 1, /team\/none/);
  assertFailure(await run('inspect', 'nothing'), 'NO_WORKLOAD', 1, /nothing/);
});

const noCosign = whyNoCosign();
const flow = 'cosign and skopeo: an image is copied by its digest, signed, tagged, and inspected';
if (noCosign !== null) {
  console.log(`skipped: ${flow}, since ${noCosign}`);
  test.skip(flow);
} else {
  test(flow, async (scene) => {
    const { run, client, place, host } = scene;
    const cosign = new Cosign();
    try {
      await cosign.makeKeys();
      await cosign.login(host, client);
      await run('policy', 'set', 'team/*', '--key', cosign.file('cosign.pub'));
      const layout = new LayoutBuilder(join(place, 'layout'));
      layout.image([layerOf([file('a', 'a')])], 'v1', { Cmd: ['a'] });
      const index = JSON.parse(readFileSync(join(layout.folder, 'index.json'), 'utf8'));
      const { digest } = index.manifests[0];
      const creds = `test:${client.token}`;
      const copy = (from: string[], to: string) =>
        skopeo('copy', '--dest-tls-verify=false', '--dest-creds', creds, ...from, `docker://${host}/team/app${to}`);
      const local = [`oci:${layout.folder}:v1`];
      assert.match(await copy(local, ':v1').then(() => '', String), /denied.*no signature/is);
      await copy(local, `@${digest}`);
      await cosign.signByKey(`${host}/team/app@${digest}`, 'bundle');
      await copy(local, ':v1');
      const view = await inspect(scene, 'team/app:v1');
      assert.equal([view.policies[0].met, view.signatures[0].kind], [true, 'bundle']);
      // And the other way: what Skerry signs cosign accepts.
      const again = await client.pushImage('other/app', 'v1', 'x');
      assert.is((await run('sign', 'other/app:v1', '--key', cosign.file('cosign.key'))).status, 0);
      assert.match(await cosign.verifyByKey(`${host}/other/app@${again.digest}`), new RegExp(again.digest));
    } finally {
      cosign.end();
    }
  });
}

const why = await whyNoContainers();
const running = 'what is not signed is neither deployed nor run; what is signed is, and a tag that moved is not';
if (why !== null) {
  console.log(`skipped: ${running}, since ${why}`);
  test.skip(running);
} else {
  test(running, async (scene) => {
    const { run, node, client, place, host, keys } = scene;
    const { key, pub } = keys('one');
    const push = async (text: string, name: string) => {
      const layout = new LayoutBuilder(join(place, text));
      const config = { Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'], ExposedPorts: { '8080/tcp': {} } };
      layout.image([busyboxLayer(), layerOf([folder('www/'), file('www/index.html', text)])], 'v1', config);
      const to = ['--dest-tls-verify=false', '--dest-creds', `test:${client.token}`, `docker://${host}/${name}`];
      await skopeo('copy', `oci:${layout.folder}:v1`, ...to);
      return JSON.parse(readFileSync(join(layout.folder, 'index.json'), 'utf8')).manifests[0].digest as string;
    };
    const page = async () => (await ask(node.node.gatewayUrl, { path: '/web/' })).body.toString();
    const digest = await push('one', 'team/web:v1');
    await run('policy', 'set', 'team/*', '--key', pub);
    const refused = async (code: string, ...args: string[]) =>
      assertFailure(await run(...args), code, 1, /team\/web|sha256/);
    await refused('NOT_SIGNED', 'deploy', 'team/web:v1');
    await refused('NOT_SIGNED', 'deploy', `${host}/team/web:v1`, '--name', 'web');
    await refused('NOT_SIGNED', 'deploy', `team/web@${digest}`);
    await refused('NOT_SIGNED', 'run', 'team/web:v1', 'echo', 'hello');
    // Nor past the command, by a client that names what is in the store already.
    await run('deploy', `oci:${join(place, 'one')}:v1`, '--name', 'own');
    const artifact = { digest, mediaType: types.manifest };
    for (const label of ['team/web:v1', digest, `team/web@${digest}`, 'elsewhere/name']) {
      const answer = await node.admin.call('PUT', '/v1/workloads/web', { artifact, label, settings: {} });
      assert.equal([answer.status, answer.json().code], [403, 'NOT_SIGNED'], label);
      const request = { artifact, label, arguments: ['true'], settings: {}, name: 'p' };
      assert.is((await node.admin.call('POST', '/v1/processes', request)).json().code, 'NOT_SIGNED', label);
    }
    assert.is((await run('sign', 'team/web:v1', '--key', key)).status, 0);
    const deployed = await run('deploy', 'team/web:v1');
    assert.is(deployed.status, 0, deployed.stderr);
    assert.is(await page(), 'one');
    const process = await run('run', '--rm', 'team/web:v1', 'echo', 'hello');
    assert.is(process.stdout, 'hello\n', process.stderr);
    assert.equal((await inspect(scene, 'team/web:v1')).usedBy, ['own', 'web']);
    // Moved while there was no policy: the signature stays with what was signed.
    await run('policy', 'rm', 'team/*');
    await push('two', 'team/web:v1');
    await run('policy', 'set', 'team/*', '--key', pub);
    await refused('NOT_SIGNED', 'deploy', 'team/web:v1');
    assert.is((await run('deploy', `team/web@${digest}`)).status, 0);
    // With another key what runs goes on, and nothing new of it is deployed.
    await run('policy', 'set', 'team/*', '--key', keys('two').pub);
    await refused('SIGNATURE_REFUSED', 'deploy', `team/web@${digest}`);
    assert.is(await page(), 'one');
    // The same bytes under a name without a policy are that name's business.
    await push('two', 'free/web:v1');
    assert.is((await run('deploy', 'free/web:v1', '--name', 'web')).status, 0);
    // Nor does what is refused come back: by a rollback, or with a share of the traffic.
    await refused('SIGNATURE_REFUSED', 'rollback', 'web');
    const { revisions } = JSON.parse((await run('revisions', 'web', '--json')).stdout);
    const [now, old] = revisions.map(({ id }: { id: string }) => id);
    await refused('SIGNATURE_REFUSED', 'traffic', 'web', `${old}=10`, `${now}=90`);
    assert.is((await run('traffic', 'web', `${now}=100`)).status, 0, 'what has its traffic keeps it');
    await run('image', 'rm', 'team/web:v1', `team/web@${digest}`);
    await refused('NOT_SIGNED', 'rollback', 'web');
    assert.is(await page(), 'two');
    await run('policy', 'rm', 'team/*');
    assert.is((await run('rollback', 'web')).status, 0);
    assert.is(await page(), 'one');
    await run('rm', 'web', 'own');
  });
}

/** In a process of its own, while the registry goes on in this one. */
async function skopeo(...args: string[]): Promise<void> {
  await promisify(execFile)('skopeo', args, { timeout: 60_000 });
}

test.run();
