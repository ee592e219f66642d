/** Deltas that nobody should send, and a registry that takes none of them for a blob. */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeDelta } from '../../../images/delta/index.ts';
import { digestOf } from '../../../images/store/index.ts';
import { zstd } from '../../support/image-builder.ts';
import { type Client, codeOf, OwnRegistry } from '../../support/own-registry.ts';
import type { Answer } from '../../support/test-node.ts';

interface Scene {
  registry: OwnRegistry;
  client: Client;
  /** Has `before`, and only whoever may pull from `private/`. */
  before: Buffer;
  after: Buffer;
  delta: Buffer;
}

const MIB = 2 ** 20;
const name = 'team/greet';

const deltas = suite<Scene>('hostile deltas');
deltas.before.each(async (scene) => {
  scene.registry = await OwnRegistry.start();
  scene.client = await scene.registry.client();
  scene.before = randomBytes(MIB);
  scene.after = Buffer.concat([
    scene.before.subarray(0, 500_000),
    Buffer.from('changed'),
    scene.before.subarray(500_000),
  ]);
  await scene.client.pushBlob(name, scene.before);
  const { blobs } = scene.registry;
  const { digest } = await blobs.putBytes(scene.after);
  scene.delta = (await makeDelta(blobs, digest, digestOf(scene.before))) as Buffer;
  await blobs.delete(digest);
});
deltas.after.each(({ registry }) => registry.end());

interface Sent {
  readonly client?: Client;
  readonly digest?: string;
  readonly size?: number | string;
  readonly headers?: Record<string, string>;
}

async function send({ client, after }: Scene, body: Buffer, sent: Sent = {}): Promise<Answer> {
  const { digest = digestOf(after), size = after.length, headers = {} } = sent;
  const from = sent.client ?? client;
  const path = `${await from.begin(name)}?digest=${digest}`;
  return from.ask({
    method: 'PUT',
    path,
    body,
    headers: {
      'content-encoding': 'dcz',
      'content-length': String(body.length),
      'skerry-blob-size': String(size),
      ...headers,
    },
  });
}

/** Nothing of it is left, and the next one is welcome. */
async function assertRefused(scene: Scene, answer: Answer, code: string): Promise<void> {
  const { registry, after } = scene;
  assert.is(codeOf(answer), code, answer.body.toString());
  assert.is(await registry.blobs.has(digestOf(after)), false);
  assert.equal(readdirSync(join(registry.blobs.folder, 'incoming')), []);
  assert.is((await send(scene, scene.delta)).status, 201);
  assert.equal(registry.failures, []);
}

/** A body with this base, as the form wants it. */
const from = (base: Buffer, frame: Buffer) =>
  Buffer.concat([Buffer.from('5e2a4d1820000000', 'hex'), createHash('sha256').update(base).digest(), frame]);

deltas('a delta gives the blob, which is pulled as any other', async (scene) => {
  const { client, after, delta } = scene;
  assert.ok(delta.length < 1000);
  assert.is((await send(scene, delta)).status, 201);
  assert.ok((await client.ask({ path: `/v2/${name}/blobs/${digestOf(after)}` })).body.equals(after));
});

deltas(
  'who lists what he has is told which of it the registry has, and that it takes deltas',
  async ({ client, before }) => {
    const path = `/v2/${name}/blobs/uploads/`;
    const unknown = digestOf(Buffer.from('unknown'));
    const headers = { 'skerry-bases': `${unknown}, nonsense, ${digestOf(before)}` };
    const answer = await client.ask({ method: 'POST', path, headers });
    assert.equal([answer.headers['accept-encoding'], answer.headers['skerry-base']], ['dcz', digestOf(before)]);
    const plain = await client.ask({ method: 'POST', path });
    assert.equal([plain.headers['accept-encoding'], plain.headers['skerry-base']], [undefined, undefined]);
  },
);

deltas('a base that is not here', async (scene) => {
  const body = from(Buffer.from('another'), scene.delta.subarray(40));
  await assertRefused(scene, await send(scene, body), 'BLOB_UPLOAD_INVALID');
});

deltas('another base than it was made from', async (scene) => {
  const other = randomBytes(MIB);
  await scene.client.pushBlob(name, other);
  const answer = await send(scene, from(other, scene.delta.subarray(40)));
  assert.ok([400, 413].includes(answer.status), String(answer.status));
  assert.is(await scene.registry.blobs.has(digestOf(scene.after)), false);
});

deltas('a blob that is shorter or longer than was said, or of no length at all', async (scene) => {
  const { after, delta } = scene;
  await assertRefused(scene, await send(scene, delta, { size: after.length - 1 }), 'BLOB_UPLOAD_INVALID');
  await scene.registry.blobs.delete(digestOf(after));
  await assertRefused(scene, await send(scene, delta, { size: after.length + 1 }), 'BLOB_UPLOAD_INVALID');
  for (const size of ['-1', 'x', '', '1e99']) assert.is((await send(scene, delta, { size })).status, 400, size);
});

deltas('a blob with another digest', async (scene) => {
  const answer = await send(scene, scene.delta, { digest: digestOf(Buffer.from('another')) });
  await assertRefused(scene, answer, 'DIGEST_INVALID');
});

deltas('a delta that is cut off, is empty, or is something else', async (scene) => {
  const { registry, delta, before, after } = scene;
  const bad = [delta.subarray(0, -10), delta.subarray(0, 40), Buffer.from('x'), Buffer.alloc(0), randomBytes(5000)];
  for (const body of [...bad, from(before, randomBytes(5000))]) {
    await assertRefused(scene, await send(scene, body), 'BLOB_UPLOAD_INVALID');
    await registry.blobs.delete(digestOf(after));
  }
});

deltas('a bomb: a few bytes that stand for more than was said, or for more than may be', async (scene) => {
  const bomb = from(scene.before, zstd(Buffer.alloc(60 * MIB)));
  assert.ok(bomb.length < 20_000);
  await assertRefused(scene, await send(scene, bomb), 'BLOB_UPLOAD_INVALID');
  assert.is(codeOf(await send(scene, bomb, { size: 2 ** 40 })), 'SIZE_INVALID');
  // Said rightly, it is written, found to be another blob, and gone.
  assert.is(codeOf(await send(scene, bomb, { size: 60 * MIB })), 'DIGEST_INVALID');
  assert.equal(readdirSync(join(scene.registry.blobs.folder, 'incoming')), []);
});

deltas('more than a delta may have', async (scene) => {
  const answer = await send(scene, from(scene.before, randomBytes(4 * MIB)));
  await assertRefused(scene, answer, 'SIZE_INVALID');
});

deltas('a base that its sender may not pull is none: nothing of it shows', async (scene) => {
  const { registry, before, after, delta } = scene;
  const narrow = await registry.client('repository:team/greet:push', 'repository:own/*:pull,push');
  const answer = await send(scene, delta, { client: narrow });
  assert.is(codeOf(answer), 'BLOB_UPLOAD_INVALID');
  await scene.client.pushBlob('own/app', after);
  const headers = { 'accept-encoding': 'dcz', 'skerry-bases': digestOf(before) };
  const path = `/v2/own/app/blobs/${digestOf(after)}`;
  const whole = await narrow.ask({ path, headers });
  assert.is(whole.headers['content-encoding'], undefined);
  assert.ok(whole.body.equals(after));
  const told = await scene.client.ask({ path, headers });
  assert.equal([told.headers['content-encoding'], told.headers.vary], ['dcz', 'accept-encoding, skerry-bases']);
  assert.ok(told.body.length < 1000);
  const part = await scene.client.ask({ path, headers: { ...headers, range: 'bytes=0-99' } });
  assert.equal([part.status, part.body.length], [206, 100], 'a range is one of the blob');
});

deltas.run();
