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
import { RemoteSource } from '../../images/remote/index.ts';
import { openContentStore } from '../../images/store/index.ts';
import { openStateStore } from '../../runtime/state/index.ts';
import { Cosign, whyNoCosign } from '../support/cosign.ts';
import { DockerRegistry, hasDockerRegistry } from '../support/docker-registry.ts';
import { LayoutBuilder, layerOf } from '../support/image-builder.ts';
import { file } from '../support/tar-writer.ts';
import { temporaryFolder } from '../support/test-node.ts';

const test = suite('images from another registry under a policy');
const why =
  whyNoCosign() ?? (hasDockerRegistry() ? null : 'docker-registry is not installed (apt-get install docker-registry)');
const pulled = 'one that cosign signed there comes, one that it did not is refused before anything is stored';
if (why !== null) {
  console.log(`skipped: ${pulled}, since ${why}`);
  test.skip(pulled);
} else {
  test(pulled, async () => {
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
      const open = async (tag: string | null) => new RemoteSource({ ...named, tag }, options);
      const pull = async () => {
        const { record } = await importImage(trust.guard(named, await open('v1'), open), blobs);
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
      // What was pulled is verified again with what was kept, while its registry is away.
      await registry.end();
      await trust.admit(signed, name);
      const other = new Cosign();
      await other.makeKeys();
      await trust.policies.set(`${registry.address}/*`, { keys: [readFileSync(other.file('cosign.pub'), 'utf8')] });
      other.end();
      assert.is(await refused(trust.admit(signed, name)), 'SIGNATURE_REFUSED');
      assert.is(await refused(trust.admit(signed, signed)), 'SIGNATURE_REFUSED', 'nor by its digest');
      await trust.admit(moved, 'oci:./somewhere');
    } finally {
      cosign.end();
      await state.close();
      await registry.end();
      rmSync(place, { recursive: true, force: true });
    }
  });
}

test.run();
