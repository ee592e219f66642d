/** The bound of the content store: everything that is written counts, and everything that goes is given back. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { type ContentStore, digestOf, openContentStore } from '../../../images/store/index.ts';

const KIB = 1024;
const limit = 1000 * KIB;

interface Scene {
  folder: string;
  store: ContentStore;
}

const space = suite<Scene>('the bound of the content store');
space.before.each(async (scene) => {
  scene.folder = mkdtempSync(join(tmpdir(), 'skerry-space-'));
  scene.store = await openContentStore(join(scene.folder, 'content'), { limit });
});
space.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 64 * KIB) yield bytes.subarray(at, at + 64 * KIB);
}

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'nothing';
  } catch (error) {
    return (error as SkerryError).code;
  }
};

space('what would go beyond it is refused, and leaves the store as it was', async ({ store, folder }) => {
  const kept = randomBytes(700 * KIB);
  await store.putStream(pieces(kept));
  assert.is(await codeOf(store.putStream(pieces(randomBytes(301 * KIB)))), 'STORE_FULL');
  assert.is(store.space.used, kept.length);
  await store.putStream(pieces(randomBytes(300 * KIB)));
  assert.is(store.space.used, limit);
  assert.is((await store.list()).length, 2);
  await store.open(digestOf(kept));
  // Another process over the same folder counts the same.
  assert.is((await openContentStore(join(folder, 'content'))).space.used, limit);
});

space('the same blob counts once, and what is deleted, damaged or broken off not at all', async ({ store }) => {
  const bytes = randomBytes(400 * KIB);
  await Promise.all([store.putStream(pieces(bytes)), store.putStream(pieces(bytes))]);
  assert.is(store.space.used, bytes.length);
  const broken = async function* () {
    yield randomBytes(100 * KIB);
    throw new Error('it broke off');
  };
  await store.putStream(broken()).catch(() => {});
  await store.putStream(pieces(randomBytes(10)), { expectedDigest: digestOf(bytes) }).catch(() => {});
  assert.is(store.space.used, bytes.length);
  await store.delete(digestOf(bytes));
  assert.is(store.space.used, 0);
});

space('room is made before anything is refused, once for all who wait', async ({ store }) => {
  const old = randomBytes(900 * KIB);
  await store.putStream(pieces(old));
  let made = 0;
  store.space.evict = async () => {
    made++;
    await store.delete(digestOf(old));
  };
  await Promise.all([1, 2, 3].map(() => store.putStream(pieces(randomBytes(200 * KIB)))));
  assert.is(made, 1);
  assert.is(store.space.used, 600 * KIB);
});

space('where nothing can go, nobody looks for it again at once', async ({ store }) => {
  let looked = 0;
  store.space.evict = async () => {
    looked++;
  };
  await store.putStream(pieces(randomBytes(900 * KIB)));
  for (let i = 0; i < 3; i++) assert.is(await codeOf(store.putBytes(randomBytes(200 * KIB))), 'STORE_FULL');
  assert.is(looked, 1);
});

space.run();
