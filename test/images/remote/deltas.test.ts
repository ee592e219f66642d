/** Registries whose deltas are wrong: the layer comes whole, and is the right one. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { remoteAccess } from '../../../daemon/remote-access.ts';
import { makeDelta } from '../../../images/delta/index.ts';
import { importImage, parseReference, type RegistryReference } from '../../../images/oci/index.ts';
import { makeWasmArtifact } from '../../../images/oci/wasm-artifact.ts';
import { RemoteSource } from '../../../images/remote/index.ts';
import { type ContentStore, digestOf, openContentStore } from '../../../images/store/index.ts';
import { zstd } from '../../support/image-builder.ts';

interface Scene {
  folder: string;
  store: ContentStore;
  server: Server;
  address: string;
  before: Buffer;
  after: Buffer;
  delta: Buffer;
  /** What the registry answers to who lists bases; null: the whole layer. */
  answer: Buffer | null;
  /** How often it was asked for the layer. */
  asked: { whole: number; delta: number };
}

const deltas = suite<Scene>('registries with wrong deltas');
deltas.before.each(async (scene) => {
  scene.folder = mkdtempSync(join(tmpdir(), 'skerry-deltas-'));
  scene.store = await openContentStore(join(scene.folder, 'content'));
  scene.before = randomBytes(2 ** 20);
  scene.after = Buffer.concat([scene.before, Buffer.from('more')]);
  scene.asked = { whole: 0, delta: 0 };
  scene.answer = null;
  await scene.store.putBytes(scene.before);
  const there = await openContentStore(join(scene.folder, 'there'));
  for (const blob of [scene.before, scene.after]) await there.putBytes(blob);
  scene.delta = (await makeDelta(there, digestOf(scene.after), digestOf(scene.before))) as Buffer;
  const made = makeWasmArtifact(
    { digest: digestOf(scene.after), size: scene.after.length },
    { exports: [], imports: [] },
  );
  scene.server = createServer(({ url = '', headers }, response) => {
    if (url.includes('/manifests/')) {
      response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json');
      return response.end(made.manifest);
    }
    if (!url.includes(digestOf(scene.after))) return response.end(made.config);
    if (scene.answer === null || headers['skerry-bases'] === undefined) {
      scene.asked.whole++;
      return response.end(scene.after);
    }
    scene.asked.delta++;
    response.setHeader('content-encoding', 'dcz');
    return response.end(scene.answer);
  }).listen(0, '127.0.0.1');
  await once(scene.server, 'listening');
  scene.address = `127.0.0.1:${(scene.server.address() as AddressInfo).port}`;
});
deltas.after.each(async ({ server, folder }) => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  rmSync(folder, { recursive: true, force: true });
});

async function pull({ address, store, before, after }: Scene): Promise<[bytes: number, total: number]> {
  const reference = parseReference(`${address}/team/greet:v1`) as RegistryReference;
  const source = new RemoteSource(reference, { ...remoteAccess(), credentials: null, insecure: true });
  let told: [number, number] = [0, 0];
  await importImage(source, store, {
    bases: async () => [digestOf(before)],
    progress: (...how) => {
      told = how;
    },
  });
  const { size } = await store.open(digestOf(after));
  assert.is(size, after.length);
  assert.equal(readdirSync(join(store.folder, 'incoming')), []);
  return told;
}

/** A body with this base, as the form wants it. */
const from = (base: Buffer, frame: Buffer) =>
  Buffer.concat([Buffer.from('5e2a4d1820000000', 'hex'), createHash('sha256').update(base).digest(), frame]);

deltas('a good one is taken, and its bytes are those that are told', async (scene) => {
  scene.answer = scene.delta;
  assert.equal(await pull(scene), [scene.delta.length, scene.delta.length]);
  assert.equal(scene.asked, { whole: 0, delta: 1 });
});

deltas('a registry that knows nothing of it is asked once', async (scene) => {
  assert.equal(await pull(scene), [scene.after.length, scene.after.length]);
  assert.equal(scene.asked, { whole: 1, delta: 0 });
});

const frame = ({ delta }: Scene) => delta.subarray(40);
const wrong: Record<string, (scene: Scene) => Buffer | Promise<Buffer>> = {
  'from a base that was not offered, though it is here': async (scene) => {
    await scene.store.putBytes(Buffer.from('another'));
    return from(Buffer.from('another'), frame(scene));
  },
  'from a base that is not here': (scene) => from(randomBytes(10), frame(scene)),
  'that is cut off': ({ delta }) => delta.subarray(0, -8),
  'with nothing in it': () => Buffer.alloc(0),
  'that is noise': ({ before }) => from(before, randomBytes(10_000)),
  'that gives another blob of the same length': ({ before, after }) => from(before, zstd(Buffer.alloc(after.length))),
  'that is a bomb': ({ before }) => from(before, zstd(Buffer.alloc(64 * 2 ** 20))),
  'that is longer than one may be': ({ before }) => from(before, randomBytes(5 * 2 ** 20)),
};

for (const [what, make] of Object.entries(wrong))
  deltas(`in place of a delta ${what} the layer itself is fetched`, async (scene) => {
    scene.answer = await make(scene);
    assert.equal(await pull(scene), [scene.after.length, scene.after.length]);
    assert.equal(scene.asked, { whole: 1, delta: 1 });
  });

deltas.run();
