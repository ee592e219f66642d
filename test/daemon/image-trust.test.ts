/** Images from another registry under a policy: their signatures come from there, and are kept. */

import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ImageTrust } from '../../daemon/image-trust.ts';
import { remoteAccess } from '../../daemon/remote-access.ts';
import {
  formatReference,
  ImageCatalog,
  importImage,
  parseReference,
  type RegistryReference,
} from '../../images/oci/index.ts';
import { Repositories } from '../../images/registry/index.ts';
import { openRemote, RemoteSource } from '../../images/remote/index.ts';
import { digestOf, openContentStore } from '../../images/store/index.ts';
import { predicateOf, remoteSignatures } from '../../images/trust/index.ts';
import { SIGN_PREDICATE } from '../../images/trust/media-types.ts';
import { openStateStore } from '../../runtime/state/index.ts';
import { Cosign, whyNoCosign } from '../support/cosign.ts';
import { DockerRegistry, hasDockerRegistry } from '../support/docker-registry.ts';
import { LayoutBuilder, layerOf } from '../support/image-builder.ts';
import { OwnRegistry } from '../support/own-registry.ts';
import { file } from '../support/tar-writer.ts';
import { temporaryFolder } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

const test = suite('images from another registry under a policy');
const why =
  whyNoCosign() ?? (hasDockerRegistry() ? null : 'docker-registry is not installed (apt-get install docker-registry)');
const pulled = 'one that cosign signed there comes, one that it did not is refused before anything is stored';
testUnless(test, why, pulled, async () => {
  const place = temporaryFolder();
  const registry = await DockerRegistry.start();
  const cosign = new Cosign();
  const state = await openStateStore(join(place, 'state'));
  try {
    const blobs = await openContentStore(join(place, 'content'));
    const catalog = new ImageCatalog(state);
    const repositories = new Repositories(state, blobs);
    const trust = new ImageTrust({ state, blobs, catalog, repositories, own: (named) => named });
    const name = `${registry.address}/team/app:v1`;
    const named = parseReference(name) as RegistryReference;
    const options = { ...remoteAccess(), credentials: null, insecure: true };
    const open = () => {
      const { repository, transport } = openRemote(named, 'pull', options);
      return { repository, close: () => transport.close() };
    };
    const pull = async () => {
      const { record } = await importImage(trust.guard(named, new RemoteSource(named, options), open), blobs);
      await catalog.put(record.manifest.digest, record);
      await catalog.put(formatReference(named), record);
      return record.manifest.digest;
    };
    const push = async (content: string) => {
      const layout = new LayoutBuilder(join(place, content));
      layout.image([layerOf([file('a', content)])], 'v1', { Cmd: ['a'] });
      const args = ['copy', '--dest-tls-verify=false', `oci:${layout.folder}:v1`, `docker://${name}`];
      await promisify(execFile)('skopeo', args);
      return JSON.parse(readFileSync(join(layout.folder, 'index.json'), 'utf8')).manifests[0].digest as string;
    };
    await cosign.makeKeys();
    const signed = await push('one');
    const keys = [readFileSync(cosign.file('cosign.pub'), 'utf8')];
    await trust.policies.set(`${registry.address}/*`, { keys });
    const refused = (work: Promise<unknown>) =>
      work.then(
        () => 'nothing',
        (error) => error.code,
      );
    assert.is(await refused(pull()), 'NOT_SIGNED');
    assert.equal(await blobs.list(), []);
    await cosign.signByKey(`${registry.address}/team/app@${signed}`, 'simple');
    assert.is(await pull(), signed);
    await trust.admit(signed, name);
    await trust.admit(signed, signed);
    // The tag moves: the signature is that of the other image.
    const moved = await push('two');
    assert.is(await refused(pull()), 'NOT_SIGNED');
    // A bundle beside it counts as well; this registry has no list of referrers but under a tag.
    await cosign.attest(`${registry.address}/team/app@${moved}`, 'custom', '{}');
    assert.is(await refused(pull()), 'SIGNATURE_REFUSED', 'a statement about it is no signature');
    await cosign.signByKey(`${registry.address}/team/app@${moved}`, 'bundle');
    assert.is(await pull(), moved);
    await trust.admit(moved, name);
    // The name leads to the new one; what was deployed by it before stays under its policy.
    await trust.admit(signed, name);
    // What was pulled is verified again with what was kept, while its registry is away.
    await registry.end();
    await trust.admit(signed, name);
    const other = new Cosign();
    await other.makeKeys();
    await trust.policies.set(`${registry.address}/*`, { keys: [readFileSync(other.file('cosign.pub'), 'utf8')] });
    other.end();
    assert.is(await refused(trust.admit(signed, name)), 'SIGNATURE_REFUSED');
    assert.is(await refused(trust.admit(moved, name)), 'SIGNATURE_REFUSED');
    assert.is(await refused(trust.admit(moved, moved)), 'SIGNATURE_REFUSED', 'nor by its digest');
    await trust.admit(moved, 'oci:./somewhere');
  } finally {
    cosign.end();
    await state.close();
    await registry.end();
    rmSync(place, { recursive: true, force: true });
  }
});

testUnless(
  test,
  whyNoCosign(),
  'bundles come from the list of referrers, what says that it is a signature first',
  async () => {
    const registry = await OwnRegistry.start();
    const cosign = new Cosign();
    try {
      const client = await registry.client('repository:team/*:*');
      const { digest } = await client.pushImage('team/app', 'v1', 'one');
      const host = new URL(registry.url).host;
      const image = `${host}/team/app@${digest}`;
      await cosign.makeKeys();
      await cosign.login(host, client);
      await cosign.attest(image, 'custom', '{}');
      await cosign.signByKey(image, 'bundle');
      await cosign.signByKey(image, 'simple');
      const credentials = { username: client.name, password: client.token };
      const options = { ...remoteAccess(), credentials, insecure: true };
      const { repository, transport } = openRemote(parseReference(image) as RegistryReference, 'pull', options);
      const found = await remoteSignatures(repository, digest, AbortSignal.timeout(30_000));
      assert.equal(
        found.map((each) => (each.kind === 'simple' ? 'simple' : predicateOf(each.json))),
        ['simple', SIGN_PREDICATE, 'https://cosign.sigstore.dev/attestation/v1'],
      );
      const other = await remoteSignatures(repository, digestOf(Buffer.from('other')), AbortSignal.timeout(30_000));
      assert.equal(other, []);
      await transport.close();
    } finally {
      cosign.end();
      await registry.end();
    }
  },
);

test.run();
