/** Signatures that the real cosign made: kept ones always, and new ones where it is installed. */
import { sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readPrivateKey } from '../../../cli/signing/private-key.ts';
import {
  judge,
  RepositorySignatures,
  type Requirement,
  type Signature,
  type Subject,
} from '../../../images/trust/index.ts';
import { Cosign, PASSWORD, whyNoCosign } from '../../support/cosign.ts';
import { OwnRegistry } from '../../support/own-registry.ts';
import { Sigstore } from '../../support/sigstore.ts';
import { testUnless } from '../../support/test-unless.ts';

const who = { identity: 'ci@example.com', issuer: 'https://login.example' };

async function verdicts(signatures: readonly Signature[], requires: Requirement, subject: Subject) {
  const judged = await judge(signatures, { pattern: '*', requires, setAt: '' }, subject);
  return judged.map(({ kind, by, why }) => ({
    kind,
    by,
    why,
  }));
}

const kept = suite('signatures that cosign made once');
const fixture = (name: string) => readFileSync(join(import.meta.dirname, 'cosign', name));
const bytes = fixture('manifest');
const subject: Subject = { bytes, repository: 'team/app', digest: fixture('digest').toString().trim() };
const byIdentity: Requirement = { ...who, trustRoot: fixture('trusted_root').toString() };
const byKey: Requirement = { keys: [fixture('cosign.pub').toString()] };
const bundleOf = (name: string): Signature => ({ kind: 'bundle', from: '', json: fixture(name).toString() });

kept('a bundle by an identity is verified offline, long after its certificate expired', async () => {
  const [verdict] = await verdicts([bundleOf('identity.bundle')], byIdentity, subject);
  assert.is(verdict!.by, 'ci@example.com of https://login.example', verdict!.why ?? '');
});

kept('for another identity, another image, another trust root, or with one bit changed it is refused', async () => {
  const bundle = bundleOf('identity.bundle');
  const why = async (requires: Requirement, about = subject, signature = bundle) =>
    (await verdicts([signature], requires, about))[0]!.why!;
  assert.match(await why({ ...byIdentity, identity: 'ci@example.org' }), /made by "ci@example.com"/);
  assert.match(await why({ ...byIdentity, issuer: 'https://other.example' }), /vouched/);
  assert.match(await why(byIdentity, { ...subject, digest: `sha256:${'0'.repeat(64)}` }), /about another image/);
  const stranger = new Sigstore();
  assert.ok(await why({ ...who, trustRoot: stranger.trustRoot() }));
  stranger.end();
  const document = JSON.parse(fixture('identity.bundle').toString());
  const signature = Buffer.from(document.dsseEnvelope.signatures[0].sig, 'base64');
  signature[30]! ^= 1;
  document.dsseEnvelope.signatures[0].sig = signature.toString('base64');
  assert.ok(await why(byIdentity, subject, { kind: 'bundle', from: '', json: JSON.stringify(document) }));
});

kept('signatures by its key are verified in both forms; the other kind of policy refuses them', async () => {
  const { payload, signature } = JSON.parse(fixture('key.simple').toString());
  const simple: Signature = { kind: 'simple', from: '', payload: Buffer.from(payload, 'base64'), signature };
  const both = [simple, bundleOf('key.bundle')];
  assert.ok((await verdicts(both, byKey, subject)).every(({ by }) => by !== null));
  assert.ok((await verdicts(both, byIdentity, subject)).every(({ by }) => by === null));
});

kept('its encrypted key is opened with the password, and with nothing else', async () => {
  const file = join(import.meta.dirname, 'cosign', 'cosign.key');
  const key = await readPrivateKey(file, PASSWORD);
  const [verdict] = await verdicts([skerrySignature(key, subject)], byKey, subject);
  assert.ok(verdict!.by, verdict!.why ?? '');
  for (const [password, code] of [
    [undefined, 'KEY_LOCKED'],
    ['another', 'KEY_INVALID'],
    ['', 'KEY_INVALID'],
  ] as const) {
    const error = await readPrivateKey(file, password).then(
      () => null,
      (thrown) => thrown,
    );
    assert.is(error?.code, code);
  }
});

kept.run();

/** As `skerry sign` makes it. */
function skerrySignature(key: Parameters<typeof sign>[2], { digest, repository }: Subject) {
  const identity = { 'docker-reference': repository };
  const critical = { identity, image: { 'docker-manifest-digest': digest }, type: 'cosign container image signature' };
  const payload = Buffer.from(JSON.stringify({ critical, optional: null }));
  const signature = sign('sha256', payload, key as never).toString('base64');
  return { kind: 'simple' as const, from: '', payload, signature };
}

interface Scene {
  registry: OwnRegistry;
  cosign: Cosign;
  sigstore: Sigstore;
  signatures: RepositorySignatures;
  subject: Subject;
  /** By its digest, as cosign names it. */
  image: string;
}

const live = suite<Scene>('cosign beside a node');
live.before.each(async (scene) => {
  scene.registry = await OwnRegistry.start();
  scene.cosign = new Cosign();
  scene.sigstore = new Sigstore();
  const { repositories, blobs, url } = scene.registry;
  scene.signatures = new RepositorySignatures(repositories, blobs);
  const client = await scene.registry.client('repository:team/*:pull,push');
  const { digest } = await client.pushImage('team/app', 'v1', 'an image');
  scene.subject = { digest, repository: 'team/app', bytes: await repositories.read(digest) };
  const { host } = new URL(url);
  await scene.cosign.login(host, client);
  scene.image = `${host}/team/app@${digest}`;
});
live.after.each(async ({ registry, cosign, sigstore }) => {
  cosign.end();
  sigstore.end();
  await registry.end();
});

const missing = whyNoCosign();
const withCosign = (what: string, work: (scene: Scene) => Promise<void>) => testUnless(live, missing, what, work);

withCosign('what it signs with a key, in both forms, satisfies a policy with that key', async (scene) => {
  const { cosign, image, signatures, subject } = scene;
  await cosign.makeKeys();
  await cosign.signByKey(image, 'simple');
  await cosign.signByKey(image, 'bundle');
  const found = await signatures.find('team/app', subject.digest);
  const requires = { keys: [readFileSync(cosign.file('cosign.pub'), 'utf8')] };
  const judged = await verdicts(found, requires, subject);
  assert.equal(judged.map(({ kind }) => kind).sort(), ['bundle', 'simple']);
  assert.ok(
    judged.every(({ by }) => by !== null),
    JSON.stringify(judged),
  );
  assert.ok(
    (await verdicts(found, byKey, subject)).every(({ by }) => by === null),
    'not one with another key',
  );
});

withCosign('it accepts what Skerry signed with its key, and nothing before that', async (scene) => {
  const { cosign, image, signatures, subject } = scene;
  await cosign.makeKeys();
  const early = await cosign.verifyByKey(image).then(
    () => '',
    (error) => String(error),
  );
  assert.match(early, /no signatures|no matching signatures/);
  const key = await readPrivateKey(cosign.file('cosign.key'), PASSWORD);
  for (let i = 0; i < 2; i++) {
    const { payload, signature } = skerrySignature(key, subject);
    await signatures.add(payload, signature, subject);
  }
  assert.match(await cosign.verifyByKey(image), new RegExp(subject.digest));
  // Its own goes beside those of others.
  await cosign.signByKey(image, 'simple');
  assert.is((await signatures.find('team/app', subject.digest)).length, 3);
});

withCosign('what it signs with an identity is verified offline, for that identity alone', async (scene) => {
  const { cosign, image, signatures, sigstore, subject } = scene;
  await cosign.signByIdentity(image, sigstore, who);
  const found = await signatures.find('team/app', subject.digest);
  const requires = { ...who, trustRoot: sigstore.trustRoot() };
  assert.is((await verdicts(found, requires, subject))[0]!.by, 'ci@example.com of https://login.example');
  assert.match(
    (await verdicts(found, { ...requires, identity: 'me@example.com' }, subject))[0]!.why!,
    /made by "ci@example.com"/,
  );
});

withCosign('an SBOM that it attests is no signature', async ({ cosign, image, signatures, subject }) => {
  await cosign.makeKeys();
  await cosign.attest(image, 'spdxjson', '{"spdxVersion":"SPDX-2.3"}');
  const found = await signatures.find('team/app', subject.digest);
  const requires = { keys: [readFileSync(cosign.file('cosign.pub'), 'utf8')] };
  assert.match((await verdicts(found, requires, subject))[0]!.why!, /attestation \(https:\/\/spdx.dev\/Document\)/);
});

live.run();
