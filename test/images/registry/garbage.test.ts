import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sweepStore } from '../../../daemon/sweep-store.ts';
import type { CollectRules } from '../../../images/registry/index.ts';
import { digestOf } from '../../../images/store/index.ts';
import { signatureTag } from '../../../images/trust/index.ts';
import { types } from '../../support/image-builder.ts';
import { type Client, codeOf, OwnRegistry } from '../../support/own-registry.ts';

const garbage = suite<{ registry: OwnRegistry; client: Client }>('what the registry keeps and what it lets go');

garbage.before.each(async (context) => {
  context.registry = await OwnRegistry.start();
  context.client = await context.registry.client();
});
garbage.after.each(({ registry }) => registry.end());

const HOUR = 3_600_000;
const later = (): CollectRules => ({ before: Date.now() + HOUR, untagged: true });

async function left(client: Client, ...paths: string[]): Promise<boolean[]> {
  const answers = await Promise.all(paths.map((path) => client.ask({ method: 'HEAD', path: `/v2/app/${path}` })));
  return answers.map(({ status }) => status === 200);
}

garbage(
  'what a tag leads to stays: the manifests of an index, and what is about any of them',
  async ({ registry, client }) => {
    const child = await client.pushImage('app', 'child', 'a child');
    const alone = await client.pushImage('app', 'alone', 'alone');
    const descriptor = (digest: string) => ({ mediaType: types.manifest, digest, size: 1 });
    const index = { schemaVersion: 2, mediaType: types.index, manifests: [descriptor(child.digest)] };
    await client.pushManifest('app', 'all', index);
    const about = (digest: string, what: string) => {
      const text = JSON.stringify({ ...child.manifest, subject: descriptor(digest), annotations: { what } });
      return client.pushManifest('app', digestOf(Buffer.from(text)), text).then(() => digestOf(Buffer.from(text)));
    };
    const signature = await about(child.digest, 'a signature');
    const ofSignature = await about(signature, 'about the signature');
    const orphan = await about(digestOf(Buffer.from('nothing')), 'about what is not there');
    await client.pushBlob('app', Buffer.from('of a push that was given up'));
    for (const tag of ['child', 'alone']) await client.ask({ method: 'DELETE', path: `/v2/app/manifests/${tag}` });
    const told = registry.repositories.garbage('app', later());
    const gone = await registry.repositories.collect('app', later());
    assert.equal(gone, told);
    assert.equal(gone.manifests.map(({ digest }) => digest).sort(), [alone.digest, orphan].sort());
    assert.is(
      gone.blobs.size,
      3,
      'a layer and a configuration that nothing names any more, and the blob of no manifest',
    );
    const paths = ['manifests/all', `manifests/${child.digest}`, `manifests/${signature}`, `manifests/${ofSignature}`];
    assert.equal(await left(client, ...paths, `blobs/${child.layer}`), Array(5).fill(true));
    assert.equal(await left(client, `manifests/${alone.digest}`, `blobs/${alone.layer}`), [false, false]);
  },
);

garbage(
  'manifests without a tag stay to be pulled by digest, unless they are asked to go',
  async ({ registry, client }) => {
    const { digest, layer } = await client.pushImage('app', 'v1', 'a layer');
    await client.ask({ method: 'DELETE', path: '/v2/app/manifests/v1' });
    await registry.repositories.collect('app', { ...later(), untagged: false });
    assert.equal(await left(client, `manifests/${digest}`, `blobs/${layer}`), [true, true]);
    await registry.repositories.collect('app', { before: Date.now() - HOUR, untagged: true });
    assert.equal(await left(client, `manifests/${digest}`), [true], 'it is young');
    await registry.repositories.collect('app', later());
    assert.equal(await left(client, `manifests/${digest}`, `blobs/${layer}`), [false, false]);
  },
);

garbage('a signature under a tag of its own stays with its image, and goes with it', async ({ registry, client }) => {
  const { digest, manifest } = await client.pushImage('app', 'v1', 'a layer');
  const tag = signatureTag(digest);
  const signature = await client.pushImage('app', tag, 'a signature');
  await client.ask({ method: 'DELETE', path: '/v2/app/manifests/v1' });
  await registry.repositories.collect('app', { ...later(), untagged: false });
  assert.equal(await left(client, `manifests/${tag}`, `manifests/${digest}`), [true, true]);
  await client.pushManifest('app', 'v2', manifest);
  await registry.repositories.collect('app', later());
  assert.equal(await left(client, `manifests/${tag}`, `blobs/${signature.layer}`), [true, true]);
  await client.ask({ method: 'DELETE', path: '/v2/app/manifests/v2' });
  await registry.repositories.collect('app', later());
  assert.equal(await left(client, `manifests/${digest}`, `manifests/${tag}`, `blobs/${signature.layer}`), [
    false,
    false,
    false,
  ]);
  assert.is((await client.ask({ path: '/v2/app/tags/list' })).status, 404);
});

garbage(
  'a sweep of the store takes what no repository has, and no blob that a push has just brought',
  async ({ registry, client }) => {
    const { layer } = await client.pushImage('app', 'v1', 'kept');
    const fresh = await client.pushBlob('app', Buffer.from('a push under way'));
    const { digest: nobodys } = await registry.blobs.putBytes(Buffer.from("nobody's"));
    const old = (Date.now() - 2 * HOUR) / 1000;
    for (const { digest } of await registry.blobs.list()) utimesSync(registry.blobs.path(digest), old, old);
    const sources = {
      blobs: registry.blobs,
      desired: { artifacts: () => new Set<string>() },
      builds: { sourceMaps: () => [] },
      images: { list: () => [], delete: async () => {} },
      repositories: registry.repositories,
    };
    const swept = await sweepStore(sources);
    assert.equal([swept.blobs, await registry.blobs.has(nobodys)], [1, false]);
    assert.equal(await left(client, `blobs/${layer}`, `blobs/${fresh}`, 'manifests/v1'), [true, true, true]);
    await client.ask({ method: 'DELETE', path: `/v2/app/blobs/${fresh}` });
    assert.is((await sweepStore(sources)).blobs, 1);
  },
);

garbage('a blob that somebody has just found there is not taken from under his push', async ({ registry, client }) => {
  const digest = await client.pushBlob('app', Buffer.from('of an older push'));
  const pushed = Date.now() + 1;
  while (Date.now() <= pushed);
  assert.is(registry.repositories.garbage('app', { before: pushed, untagged: true }).blobs.size, 1);
  await client.ask({ method: 'HEAD', path: `/v2/app/blobs/${digest}` });
  assert.is((await registry.repositories.collect('app', { before: pushed, untagged: true })).blobs.size, 0);
});

garbage('a manifest that comes while its blobs are swept is refused or whole', async ({ registry, client }) => {
  const layer = Buffer.from('a layer');
  const config = Buffer.from('{}');
  for (let i = 0; i < 20; i++) {
    const digests = [await client.pushBlob('app', config), await client.pushBlob('app', layer)] as const;
    const manifest = {
      schemaVersion: 2,
      mediaType: types.manifest,
      config: { mediaType: types.config, digest: digests[0], size: config.length },
      layers: [{ mediaType: types.layer, digest: digests[1], size: layer.length }],
    };
    const [put] = await Promise.all([
      client.pushManifest('app', 'v1', manifest),
      registry.repositories.collect('app', later()),
    ]);
    const whole = await left(client, 'manifests/v1', ...digests.map((digest) => `blobs/${digest}`));
    if (put.status === 201) assert.equal(whole, [true, true, true]);
    else assert.equal([codeOf(put), whole[0]], ['MANIFEST_BLOB_UNKNOWN', false]);
    await client.ask({ method: 'DELETE', path: '/v2/app/manifests/v1' });
  }
});

const full = 'a full disk is told, leaves what is there whole, and is free again of what did not fit';
if (process.getuid?.() === 0) {
  garbage(full, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-full-'));
    mkdirSync(join(folder, 'content'));
    const disk = join(folder, 'content');
    assert.is(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk]).status, 0);
    const registry = await OwnRegistry.start({ folder });
    try {
      const client = await registry.client();
      const small = await client.pushImage('app', 'v1', 'it fits');
      const large = randomBytes(6 * 2 ** 20);
      const path = `/v2/app/blobs/uploads/?digest=${digestOf(large)}`;
      const monolithic = await client.ask({ method: 'POST', path, body: large });
      assert.equal([monolithic.status, codeOf(monolithic)], [507, 'STORE_DISK_FULL']);
      assert.not.match(monolithic.body.toString(), new RegExp(folder), 'nothing of the paths of the node');
      const location = await client.begin('app');
      assert.is((await client.ask({ method: 'PATCH', path: location, body: large })).status, 507);
      assert.is((await client.ask({ path: location })).status, 404);
      // Nobody knows how long it is until the disk is full.
      const streamed = await client.begin('app');
      const { sent, answered } = await client.open('PATCH', streamed, {});
      sent.end(large);
      assert.is(await answered, 507);
      assert.is((await client.ask({ path: streamed })).status, 404);
      assert.equal(readdirSync(join(disk, 'uploads')), []);
      assert.equal(await left(client, 'manifests/v1', `blobs/${small.layer}`), [true, true]);
      await client.pushBlob('app', large.subarray(0, 3 * 2 ** 20));
    } finally {
      await registry.stop();
      spawnSync('umount', [disk]);
      rmSync(folder, { recursive: true, force: true });
    }
  });
} else {
  console.log(`skipped: ${full}, since mounting a small disk needs root`);
  garbage.skip(full);
}

garbage.run();
