/** Which signatures count: those that a policy names, about this very image, and nothing that only looks like one. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { digestOf } from '../../../images/store/index.ts';
import {
  judge,
  type Requirement,
  requireSignatures,
  type Signature,
  type Subject,
} from '../../../images/trust/index.ts';
import { keyBundle, Sigstore, signStatement } from '../../support/sigstore.ts';

const bytes = Buffer.from('{"a manifest":1}');
const subject: Subject = { digest: digestOf(bytes), bytes, repository: 'team/app' };
const another = digestOf(Buffer.from('another manifest'));
const from = digestOf(Buffer.from('a signature'));

const pair = (curve = 'P-256') => generateKeyPairSync('ec', { namedCurve: curve });
const pemOf = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString();
const mine = pair();
const byMe: Requirement = { keys: [pemOf(mine.publicKey)] };

interface Payload {
  readonly reference?: string;
  readonly digest?: string;
  readonly type?: string;
}

function payloadOf({ reference = 'team/app', digest = subject.digest, type }: Payload = {}): Buffer {
  const identity = { 'docker-reference': reference };
  const image = { 'docker-manifest-digest': digest };
  const critical = { identity, image, type: type ?? 'cosign container image signature' };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

function simple(payload: Buffer, key: KeyObject = mine.privateKey): Signature {
  return { kind: 'simple', from, payload, signature: sign('sha256', payload, key).toString('base64') };
}

const bundle = (json: string): Signature => ({ kind: 'bundle', from, json });

/** Why it does not count; null when it does. */
async function whyNot(signature: Signature, requires: Requirement, about = subject): Promise<string | null> {
  const [verdict] = await judge([signature], { pattern: 'team/*', requires, setAt: '' }, about);
  assert.is(verdict!.by === null, verdict!.why !== null);
  return verdict!.why;
}

/** Why it does not count: it must not. */
async function refusal(...given: Parameters<typeof whyNot>): Promise<string> {
  const why = await whyNot(...given);
  assert.is.not(why, null, 'it counts');
  return why as string;
}

const keys = suite('signatures by a key');

keys('one about the image counts, in both forms of cosign, whichever registry it was made at', async () => {
  assert.is(await whyNot(simple(payloadOf()), byMe), null);
  for (const reference of ['registry.example:5000/team/app', 'localhost:5050/team/app:v1', `team/app@${another}`])
    assert.is(await whyNot(simple(payloadOf({ reference })), byMe), null, reference);
  assert.is(await whyNot(bundle(keyBundle(subject.digest, mine.privateKey)), byMe), null);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  assert.is(await whyNot(simple(payloadOf(), rsa.privateKey), { keys: [pemOf(rsa.publicKey)] }), null);
});

keys('one key of several is enough, so that keys can be exchanged', async () => {
  const next = pair();
  const requires = { keys: [pemOf(mine.publicKey), pemOf(next.publicKey)] };
  assert.is(await whyNot(simple(payloadOf(), next.privateKey), requires), null);
  assert.match(await refusal(simple(payloadOf(), pair().privateKey), requires), /another key/);
});

keys('one of another image is refused, though the key is right', async () => {
  assert.match(await refusal(simple(payloadOf({ digest: another })), byMe), /about another image, sha256:/);
  assert.match(await refusal(bundle(keyBundle(another, mine.privateKey)), byMe), /about another image/);
  assert.match(await refusal(simple(payloadOf({ digest: '' })), byMe), /about another image/);
});

keys('one for another repository is refused: who may push to one cannot carry a signature to the other', async () => {
  for (const reference of ['team/test', 'evil/team/app', 'registry.example/other/team/app', 'app', '', 'Team/App'])
    assert.match(await refusal(simple(payloadOf({ reference })), byMe), /the repository/, reference);
});

keys('a changed payload, a changed signature and one by another key are refused', async () => {
  const good = simple(payloadOf()) as Extract<Signature, { kind: 'simple' }>;
  assert.match(
    await refusal({ ...good, payload: payloadOf({ reference: 'x/team/app' }) }, byMe),
    /another key, or was changed/,
  );
  const changed = Buffer.from(good.signature, 'base64');
  changed[20]! ^= 1;
  assert.match(await refusal({ ...good, signature: changed.toString('base64') }, byMe), /another key, or was changed/);
  assert.match(await refusal(simple(payloadOf(), pair().privateKey), byMe), /another key/);
  assert.match(await refusal(bundle(keyBundle(subject.digest, pair().privateKey)), byMe), /another key/);
});

keys('what the key signed for another purpose is no signature of an image', async () => {
  for (const payload of ['{}', 'null', '[]', 'not json', '{"critical":{}}'])
    assert.match(await refusal(simple(Buffer.from(payload)), byMe), /not the document/, payload);
  assert.match(await refusal(simple(payloadOf({ type: 'atomic container signature' })), byMe), /not the document/);
  for (const predicate of ['https://spdx.dev/Document', 'https://slsa.dev/provenance/v1', ''])
    assert.match(
      await refusal(bundle(keyBundle(subject.digest, mine.privateKey, predicate)), byMe),
      /attestation/,
      predicate,
    );
});

keys('a signature is not to be had by what cannot be one: huge, empty, not base64, not a bundle', async () => {
  const good = simple(payloadOf()) as Extract<Signature, { kind: 'simple' }>;
  for (const signature of ['', 'A'.repeat(5000), 'not base64!', '====', good.signature.slice(8)])
    assert.ok(await whyNot({ ...good, signature }, byMe), signature.slice(0, 20));
  for (const json of ['', '{}', 'null', '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}', '[]'])
    assert.ok(await whyNot(bundle(json), byMe), json);
  const empty = JSON.parse(keyBundle(subject.digest, mine.privateKey));
  empty.dsseEnvelope.signatures = [];
  assert.ok(await whyNot(bundle(JSON.stringify(empty)), byMe));
  const type = { ...signStatement({ subject: [], predicateType: '' }, mine.privateKey), payloadType: 'text/plain' };
  assert.ok(await whyNot(bundle(JSON.stringify({ ...empty, dsseEnvelope: type })), byMe));
});

keys('an image named by anything but sha256 has no signature', async () => {
  const digest = digestOf(bytes, 'sha512');
  assert.match(await refusal(simple(payloadOf({ digest })), byMe, { ...subject, digest }), /not named by sha256/);
});

keys.run();

const identities = suite<{ sigstore: Sigstore }>('signatures by an identity');
identities.before((scene) => {
  scene.sigstore = new Sigstore();
});
identities.after(({ sigstore }) => sigstore.end());

const who = { identity: 'ci@example.com', issuer: 'https://login.example' };

identities(
  'a bundle with a timestamp counts, for its identity and issuer as a whole and for no other',
  async ({ sigstore }) => {
    const trustRoot = sigstore.trustRoot();
    const good = bundle(sigstore.bundle(subject.digest, sigstore.issue(who)));
    assert.is(await whyNot(good, { ...who, trustRoot }), null);
    for (const identity of ['ci@example.co', 'i@example.com', '.*', '', 'CI@example.com', 'ci@example.com.evil'])
      assert.match(await refusal(good, { ...who, identity, trustRoot }), /made by "ci@example.com"/, identity);
    for (const issuer of ['https://login.exampl', '.*', 'https://evil.example'])
      assert.match(await refusal(good, { ...who, issuer, trustRoot }), /vouched for who made it/, issuer);
    const uri = { identity: 'https://forge.example/team/app/ci.yml@refs/heads/main', issuer: who.issuer };
    assert.is(await whyNot(bundle(sigstore.bundle(subject.digest, sigstore.issue(uri))), { ...uri, trustRoot }), null);
  },
);

identities('a name that the wanted one is only a part of is another name', async ({ sigstore }) => {
  const evil = sigstore.issue({ ...who, identity: 'evil-ci@example.com.attacker.example' });
  const signature = bundle(sigstore.bundle(subject.digest, evil));
  assert.match(await refusal(signature, { ...who, trustRoot: sigstore.trustRoot() }), /made by "evil-ci/);
});

identities('a certificate that had expired when it was used is refused', async ({ sigstore }) => {
  const trustRoot = sigstore.trustRoot();
  const expired = sigstore.issue({ ...who, from: Date.now() - 24 * 3_600_000 });
  assert.match(
    await refusal(bundle(sigstore.bundle(subject.digest, expired)), { ...who, trustRoot }),
    /expired|not valid/,
  );
  const early = sigstore.issue({ ...who, from: Date.now() + 3_600_000 });
  assert.match(
    await refusal(bundle(sigstore.bundle(subject.digest, early)), { ...who, trustRoot }),
    /expired|not valid/,
  );
});

identities('without a witness of the time nothing is believed', async ({ sigstore }) => {
  const plain = bundle(sigstore.bundle(subject.digest, sigstore.issue(who), { timestamp: false }));
  assert.match(await refusal(plain, { ...who, trustRoot: sigstore.trustRoot() }), /timestamp/);
});

identities(
  'a log that the trust root lists must have the signature, and its time must be its own word',
  async ({ sigstore }) => {
    const trustRoot = sigstore.trustRoot({ logs: true, timestamps: false });
    const now = Date.now();
    const make = (cert: ReturnType<Sigstore['issue']>, logged: number, promise = true) =>
      bundle(sigstore.bundle(subject.digest, cert, { timestamp: false, logged, promise }));
    assert.is(await whyNot(make(sigstore.issue(who), now), { ...who, trustRoot }), null);
    const unlogged = bundle(sigstore.bundle(subject.digest, sigstore.issue(who)));
    assert.match(await refusal(unlogged, { ...who, trustRoot: sigstore.trustRoot({ logs: true }) }), /tlog/);
    // A key of yesterday's, and a time of yesterday that nobody signed: the proof alone says nothing of it.
    const yesterday = now - 24 * 3_600_000;
    const stolen = sigstore.issue({ ...who, from: yesterday });
    assert.match(await refusal(make(stolen, yesterday + 60_000, false), { ...who, trustRoot }), /timestamp/);
    const moved = JSON.parse((make(stolen, now) as { json: string }).json);
    moved.verificationMaterial.tlogEntries[0].integratedTime = String(Math.floor((yesterday + 60_000) / 1000));
    assert.match(await refusal(bundle(JSON.stringify(moved)), { ...who, trustRoot }), /inclusion promise/);
  },
);

identities('what another authority issued, or for another use, is refused', async ({ sigstore }) => {
  const stranger = new Sigstore();
  const trustRoot = sigstore.trustRoot();
  const strange = bundle(stranger.bundle(subject.digest, stranger.issue(who)));
  assert.ok(await whyNot(strange, { ...who, trustRoot }));
  const foreign = bundle(sigstore.bundle(subject.digest, stranger.issue(who)));
  assert.match(await refusal(foreign, { ...who, trustRoot }), /certificate/i);
  const server = bundle(sigstore.bundle(subject.digest, sigstore.issue({ ...who, usage: 'server' })));
  assert.match(await refusal(server, { ...who, trustRoot }), /not one for signing code/);
  stranger.end();
});

identities('keys and identities do not stand in for each other', async ({ sigstore }) => {
  const trustRoot = sigstore.trustRoot();
  const issued = sigstore.issue(who);
  const certified = bundle(sigstore.bundle(subject.digest, issued));
  assert.match(await refusal(certified, byMe), /with a certificate, and not with a key/);
  assert.match(await refusal(bundle(keyBundle(subject.digest, mine.privateKey)), { ...who, trustRoot }), /with a key/);
  assert.match(await refusal(simple(payloadOf()), { ...who, trustRoot }), /with a key/);
});

identities(
  'a bundle about another image, or an attestation, is refused, and so is one that was changed',
  async ({ sigstore }) => {
    const trustRoot = sigstore.trustRoot();
    const issued = sigstore.issue(who);
    assert.match(await refusal(bundle(sigstore.bundle(another, issued)), { ...who, trustRoot }), /about another image/);
    const predicateType = 'https://spdx.dev/Document';
    const sbom = bundle(sigstore.bundle(subject.digest, issued, { predicateType }));
    assert.match(await refusal(sbom, { ...who, trustRoot }), /attestation/);
    const changed = JSON.parse(sigstore.bundle(another, issued));
    const statement = Buffer.from(changed.dsseEnvelope.payload, 'base64').toString();
    changed.dsseEnvelope.payload = Buffer.from(statement.replace(another.slice(7), subject.digest.slice(7))).toString(
      'base64',
    );
    assert.match(
      await refusal(bundle(JSON.stringify(changed)), { ...who, trustRoot }),
      /signature verification failed/,
    );
  },
);

identities.run();

const policies = suite('signatures that several policies require');

policies('each of them must have one; what is missing is said', async () => {
  const other = pair();
  const both = [
    { pattern: 'team/*', requires: byMe, setAt: '' },
    { pattern: '*/app', requires: { keys: [pemOf(other.publicKey)] }, setAt: '' },
  ];
  const one = [simple(payloadOf())];
  assert.match(
    await requireSignatures('team/app:v1', both, [], subject).then(() => '', String),
    /team\/app:v1.*team\/\*.*NOT_SIGNED/,
  );
  assert.match(
    await requireSignatures('team/app:v1', both, one, subject).then(() => '', String),
    /\*\/app.*another key.*SIGNATURE_REFUSED/,
  );
  await requireSignatures('team/app:v1', both, [...one, simple(payloadOf(), other.privateKey)], subject);
});

policies.run();
