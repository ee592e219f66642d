import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { type ContentStore, digestOf, openContentStore } from '../../../images/store/index.ts';

const hello = Buffer.from('hello');
const helloDigest = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';

const contentStore = suite<{ folder: string; store: ContentStore }>('content store');

contentStore.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-content-'));
  context.store = await openContentStore(context.folder);
});
contentStore.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return 'no error';
  } catch (error) {
    return (error as SkerryError).code ?? String(error);
  }
}

const incoming = (folder: string) => readdirSync(join(folder, 'incoming'));

contentStore('a blob is found under its digest, in a file that only the owner can read', async ({ folder, store }) => {
  assert.equal(await store.putBytes(hello), { digest: helloDigest, size: 5 });
  const blob = await store.open(helloDigest);
  assert.is(blob.path, join(folder, 'blobs', 'sha256', '2c', helloDigest.slice(7)));
  assert.equal(readFileSync(blob.path), hello);
  assert.is(statSync(blob.path).mode & 0o777, 0o600);
  for (const path of ['blobs', 'blobs/sha256', 'blobs/sha256/2c', 'incoming', 'quarantine'])
    assert.is(statSync(join(folder, path)).mode & 0o777, 0o700, path);
});

contentStore('a stream of many pieces and the same bytes at once are one blob', async ({ store }) => {
  const content = Buffer.alloc(3_000_001, 'skerry ');
  const pieces = function* () {
    for (let at = 0; at < content.length; at += 70_000) yield content.subarray(at, at + 70_000);
  };
  const put = await store.putStream(Readable.from(pieces(), { objectMode: false }));
  assert.equal(put, { digest: digestOf(content), size: content.length });
  assert.equal(await store.putBytes(content), put);
  assert.equal(
    (await store.list()).map(({ digest, size }) => ({ digest, size })),
    [put],
  );
});

contentStore('the empty blob is a blob', async ({ store }) => {
  const { digest, size } = await store.putBytes(Buffer.alloc(0));
  assert.is(size, 0);
  assert.is((await store.open(digest)).size, 0);
});

contentStore('what is not a digest never becomes a path', async ({ store }) => {
  const bad = [
    '',
    'sha256:',
    '../../etc/passwd',
    `sha256:../${'a'.repeat(61)}`,
    helloDigest.toUpperCase(),
    `${helloDigest}\n`,
  ];
  for (const digest of [
    ...bad,
    helloDigest.slice(0, -1),
    helloDigest.replace('sha256', 'sha512'),
    `sha256:${'g'.repeat(64)}`,
  ]) {
    assert.throws(
      () => store.path(digest),
      (error: SkerryError) => error.code === 'DIGEST_INVALID',
    );
    for (const use of [() => store.has(digest), () => store.delete(digest), async () => store.open(digest)])
      assert.is(await codeOf(use), 'DIGEST_INVALID', digest);
    assert.is(await codeOf(() => store.putBytes(hello, { expectedDigest: digest })), 'DIGEST_INVALID');
  }
});

contentStore(
  'content with another digest than the expected one is refused and leaves nothing',
  async ({ folder, store }) => {
    const expectedDigest = digestOf(Buffer.from('other'));
    for (const put of [
      () => store.putBytes(hello, { expectedDigest }),
      () => store.putStream(Readable.from([hello]), { expectedDigest }),
    ])
      assert.is(await codeOf(put), 'DIGEST_MISMATCH');
    assert.equal(await store.list(), []);
    assert.equal(incoming(folder), []);
  },
);

contentStore(
  'content beyond the limit is refused as soon as it goes past it, and the sender is stopped',
  async ({ folder, store }) => {
    let sent = 0;
    const endless = async function* () {
      for (;;) {
        sent += 1000;
        yield Buffer.alloc(1000);
      }
    };
    assert.is(await codeOf(() => store.putStream(endless(), { maxBytes: 10_500 })), 'BLOB_TOO_LARGE');
    assert.is(sent, 11_000);
    assert.is(await codeOf(() => store.putBytes(hello, { maxBytes: 4 })), 'BLOB_TOO_LARGE');
    assert.equal(incoming(folder), []);
  },
);

contentStore('a sender that breaks off leaves nothing, and its own error comes back', async ({ folder, store }) => {
  const broken = async function* () {
    yield hello;
    throw new Error('connection lost');
  };
  assert.is(await codeOf(() => store.putStream(broken())), 'Error: connection lost');
  assert.equal(incoming(folder), []);
  assert.equal(await store.list(), []);
});

contentStore('a blob that is renewed counts as put now; a missing or damaged one is not there', async ({ store }) => {
  assert.is(await store.renew(helloDigest), false);
  await store.putBytes(hello);
  utimesSync(store.path(helloDigest), 1, 1);
  const before = Date.now() - 10_000;
  assert.is(await store.renew(helloDigest), true);
  assert.is(await store.delete(helloDigest, { putBefore: before }), false);
  writeFileSync(store.path(helloDigest), 'jello');
  assert.is(await store.renew(helloDigest), false);
  assert.is(await codeOf(() => store.renew('../x')), 'DIGEST_INVALID');
});

contentStore('a missing blob is told apart from a damaged one', async ({ store }) => {
  assert.is(await store.has(helloDigest), false);
  assert.is(await codeOf(() => store.open(helloDigest)), 'BLOB_MISSING');
  assert.is(await store.delete(helloDigest), false);
});

const damages: Record<string, (path: string) => void> = {
  'a flipped bit': (path) => {
    const bytes = readFileSync(path);
    bytes[2]! ^= 1;
    writeFileSync(path, bytes);
  },
  'a cut end': (path) => writeFileSync(path, 'hell'),
  'more at its end': (path) => writeFileSync(path, 'hello!'),
  'nothing in it': (path) => writeFileSync(path, ''),
  'a folder in its place': (path) => {
    rmSync(path);
    mkdirSync(path);
  },
};
for (const [what, damage] of Object.entries(damages))
  contentStore(`a blob with ${what} is reported, put aside, and can be put again`, async ({ folder, store }) => {
    await store.putBytes(hello);
    await store.open(helloDigest);
    const path = store.path(helloDigest);
    damage(path);
    // In this process, which has seen it whole, and in the next.
    for (const user of [store, await openContentStore(folder)]) {
      assert.is(await codeOf(() => user.open(helloDigest)), user === store ? 'BLOB_CORRUPT' : 'BLOB_MISSING');
      assert.is(await user.has(helloDigest), false);
    }
    assert.ok(existsSync(join(folder, 'quarantine', helloDigest.slice(7))));
    await store.putBytes(hello);
    assert.equal(readFileSync((await store.open(helloDigest)).path), hello);
  });

contentStore(
  'damage that keeps the size and the time of the file is found by the next start',
  async ({ folder, store }) => {
    await store.putBytes(hello);
    const path = store.path(helloDigest);
    const { atime, mtime } = statSync(path);
    writeFileSync(path, 'jello');
    utimesSync(path, atime, mtime);
    assert.is(await codeOf(async () => (await openContentStore(folder)).open(helloDigest)), 'BLOB_CORRUPT');
  },
);

contentStore('putting a blob over a damaged one mends it', async ({ store }) => {
  for (const put of [() => store.putBytes(hello), () => store.putStream(Readable.from([hello]))]) {
    await store.putBytes(hello);
    writeFileSync(store.path(helloDigest), 'jello');
    await put();
    assert.equal(readFileSync((await store.open(helloDigest)).path), hello);
  }
});

contentStore(
  'many senders of the same and of other blobs at once do not disturb each other',
  async ({ folder, store }) => {
    const contents = Array.from({ length: 40 }, (_, number) => Buffer.alloc(50_000, `content ${number % 8} `));
    const digests = await Promise.all(contents.map((content) => store.putStream(Readable.from([content]))));
    assert.is(new Set(digests.map(({ digest }) => digest)).size, 8);
    await Promise.all(digests.map(({ digest }) => store.open(digest)));
    assert.is((await store.list()).length, 8);
    assert.equal(incoming(folder), []);
  },
);

contentStore('what a crashed write left is removed at the start, and nothing else', async ({ folder, store }) => {
  await store.putBytes(hello);
  writeFileSync(join(folder, 'incoming', '123-0'), 'half');
  writeFileSync(join(folder, 'blobs', 'sha256', '2c', 'notes.txt'), 'not ours');
  const next = await openContentStore(folder);
  assert.equal(incoming(folder), []);
  assert.equal(
    (await next.list()).map(({ digest }) => digest),
    [helloDigest],
  );
});

contentStore('a blob that was put again lately outlives the removal of old ones', async ({ store }) => {
  await store.putBytes(hello);
  const old = new Date(Date.now() - 7_200_000);
  utimesSync(store.path(helloDigest), old, old);
  const putBefore = Date.now() - 3_600_000;
  await store.putBytes(hello);
  assert.is(await store.delete(helloDigest, { putBefore }), false);
  assert.ok((await store.list())[0]!.modifiedMs >= putBefore);
  utimesSync(store.path(helloDigest), old, old);
  assert.is(await store.delete(helloDigest, { putBefore }), true);
  assert.is(await store.has(helloDigest), false);
});

contentStore('a file in place of the folder is reported', async ({ folder }) => {
  writeFileSync(join(folder, 'file'), '');
  assert.is(await codeOf(() => openContentStore(join(folder, 'file'))), 'STORE_NOT_WRITABLE');
});

contentStore.run();
