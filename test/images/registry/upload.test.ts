import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { digestOf } from '../../../images/store/index.ts';
import { type Client, codeOf, OwnRegistry } from '../../support/own-registry.ts';

const uploads = suite<{ registry: OwnRegistry; client: Client }>('uploads to the registry');

uploads.before.each(async (context) => {
  context.registry = await OwnRegistry.start();
  context.client = await context.registry.client();
});
uploads.after.each(({ registry }) => registry.end());

const content = randomBytes(300_000);
const digest = digestOf(content);

/** What the registry has of the blob, read back whole. */
async function pulled(client: Client, of = digest, repository = 'app'): Promise<Buffer> {
  const answer = await client.ask({ path: `/v2/${repository}/blobs/${of}` });
  assert.is(answer.status, 200);
  assert.is(answer.headers['docker-content-digest'], of);
  return answer.body;
}

const left = ({ folder }: OwnRegistry) => readdirSync(join(folder, 'content', 'uploads'));

/** Goes on as a client does that lost its connection: where the upload says that it stands. Returns where that was. */
async function goOn(client: Client, location: string): Promise<number> {
  let at = (await client.ask({ path: location })).headers.range as string;
  for (;;) {
    const size = at === '0-0' ? 0 : Number(at.slice(2)) + 1;
    const headers = { 'content-range': `${size}-${content.length - 1}` };
    const { status, headers: told } = await client.ask({
      method: 'PATCH',
      path: location,
      body: content.subarray(size),
      headers,
    });
    if (status === 202) return size;
    assert.is(status, 416);
    at = told.range as string;
  }
}

uploads('a blob comes in one request, or in two', async ({ registry, client }) => {
  const once = await client.ask({ method: 'POST', path: `/v2/app/blobs/uploads/?digest=${digest}`, body: content });
  assert.equal([once.status, once.headers.location], [201, `/v2/app/blobs/${digest}`]);
  assert.equal(await pulled(client), content);
  const other = randomBytes(1000);
  const location = await client.begin('app');
  const put = await client.ask({ method: 'PUT', path: `${location}?digest=${digestOf(other)}`, body: other });
  assert.is(put.status, 201);
  assert.equal(await pulled(client, digestOf(other)), other);
  assert.equal(left(registry), [], 'nothing of the uploads stays');
});

uploads('chunks come in order, and the answer to one that does not says where to go on', async ({ client }) => {
  const location = await client.begin('app');
  const patch = (first: number, last: number) =>
    client.ask({
      method: 'PATCH',
      path: location,
      body: content.subarray(first, last + 1),
      headers: { 'content-range': `${first}-${last}` },
    });
  const first = await patch(0, 99_999);
  assert.equal([first.status, first.headers.range], [202, '0-99999']);
  for (const [from, to] of [
    [200_000, 299_999],
    [0, 99_999],
    [99_999, 150_000],
  ] as const) {
    const refused = await patch(from, to);
    assert.equal([refused.status, codeOf(refused), refused.headers.range], [416, 'BLOB_UPLOAD_INVALID', '0-99999']);
    assert.is(refused.headers.location, location);
  }
  assert.is((await patch(100_000, 199_999)).status, 202);
  const last = { 'content-range': '200000-299999' };
  const tail = content.subarray(200_000);
  const out = await client.ask({
    method: 'PUT',
    path: `${location}?digest=${digest}`,
    body: tail,
    headers: { 'content-range': '0-99999' },
  });
  assert.is(out.status, 416, 'the last one too');
  const put = await client.ask({ method: 'PUT', path: `${location}?digest=${digest}`, body: tail, headers: last });
  assert.is(put.status, 201);
  assert.equal(await pulled(client), content);
});

uploads('a chunk that is shorter or longer than it says is refused, and nothing of it counts', async ({ client }) => {
  const location = await client.begin('app');
  const patch = (body: Buffer, range: string, headers: Record<string, string> = {}) =>
    client.ask({ method: 'PATCH', path: location, body, headers: { 'content-range': range, ...headers } });
  const longer = await patch(content.subarray(0, 200), '0-99');
  assert.equal([longer.status, codeOf(longer)], [400, 'SIZE_INVALID']);
  // Without a Content-Length it shows only while it comes.
  for (const bytes of [50, 200_000]) {
    const { sent, answered } = await client.open('PATCH', location, { 'content-range': '0-99' });
    sent.end(content.subarray(0, bytes));
    assert.is(await answered, 400);
  }
  for (const range of ['bytes 0-99/200', '0', '99-0', '-5', 'a-b']) {
    const refused = await patch(content.subarray(0, 100), range);
    assert.equal([refused.status, codeOf(refused)], [400, 'BLOB_UPLOAD_INVALID'], range);
  }
  assert.is((await client.ask({ path: location })).headers.range, '0-0');
  assert.is((await patch(content.subarray(0, 100), '0-99')).status, 202);
  const put = { method: 'PUT', path: `${location}?digest=${digest}`, body: content.subarray(100) };
  assert.is((await client.ask(put)).status, 201);
  assert.equal(await pulled(client), content);
});

uploads('what has another digest than it should is not kept, whichever way it came', async ({ registry, client }) => {
  const wrong = digestOf(Buffer.from('something else'));
  const monolithic = await client.ask({
    method: 'POST',
    path: `/v2/app/blobs/uploads/?digest=${wrong}`,
    body: content,
  });
  assert.equal([monolithic.status, codeOf(monolithic)], [400, 'DIGEST_INVALID']);
  const location = await client.begin('app');
  await client.ask({ method: 'PATCH', path: location, body: content });
  const put = await client.ask({ method: 'PUT', path: `${location}?digest=${wrong}` });
  assert.equal([put.status, codeOf(put)], [400, 'DIGEST_INVALID']);
  const gone = await client.ask({ path: location });
  assert.equal([gone.status, codeOf(gone)], [404, 'BLOB_UPLOAD_UNKNOWN']);
  assert.equal(left(registry), []);
  for (const each of [wrong, digest]) {
    const answer = await client.ask({ path: `/v2/app/blobs/${each}` });
    assert.equal([answer.status, codeOf(answer)], [404, 'BLOB_UNKNOWN']);
  }
});

uploads(
  'digests outside their grammar are refused before a byte is read, and never become a path',
  async ({ client }) => {
    for (const bad of [
      'sha256:abc',
      `sha256:${'A'.repeat(64)}`,
      'sha1:abc',
      '../../etc/passwd',
      'sha256:../../../../x',
      '',
      'md5:0',
    ]) {
      const location = await client.begin('app');
      const put = await client.ask({ method: 'PUT', path: `${location}?digest=${encodeURIComponent(bad)}` });
      assert.equal([put.status, codeOf(put)], [400, 'DIGEST_INVALID'], bad);
      if (bad === '') continue;
      const get = await client.ask({ path: `/v2/app/blobs/${encodeURIComponent(bad)}` });
      assert.ok(get.status === 400 || get.status === 404, `${bad}: ${get.status}`);
      const mount = await client.ask({
        method: 'POST',
        path: `/v2/app/blobs/uploads/?mount=${encodeURIComponent(bad)}`,
      });
      assert.is(mount.status, 400, bad);
    }
  },
);

uploads('an upload is given up by its client, and belongs to its repository alone', async ({ client, registry }) => {
  const location = await client.begin('app');
  const other = await client.ask({ path: location.replace('/app/', '/other/') });
  assert.equal([other.status, codeOf(other)], [404, 'BLOB_UPLOAD_UNKNOWN']);
  assert.is((await client.ask({ method: 'DELETE', path: location })).status, 204);
  assert.is((await client.ask({ method: 'PATCH', path: location, body: content })).status, 404);
  assert.is((await client.ask({ path: '/v2/app/blobs/uploads/..%2f..%2fnode.key' })).status, 404);
  assert.equal(left(registry), []);
});

uploads('a client that vanishes half-way finds what came, and goes on from there', async ({ client }) => {
  const location = await client.begin('app');
  const { sent, answered } = await client.open('PATCH', location, { 'content-length': content.length });
  await new Promise((resolve) => sent.write(content.subarray(0, 290_000), resolve));
  sent.destroy();
  await answered.catch(() => {});
  assert.ok((await goOn(client, location)) <= 290_000);
  assert.is((await client.ask({ method: 'PUT', path: `${location}?digest=${digest}` })).status, 201);
  assert.equal(await pulled(client), content);
});

uploads('a client whose first connection hangs takes its upload over on another one', async ({ client }) => {
  const location = await client.begin('app');
  const hanging = await client.open('PATCH', location, { 'content-length': content.length });
  await new Promise((resolve) => hanging.sent.write(content.subarray(0, 1000), resolve));
  await goOn(client, location);
  const over = await hanging.answered.catch((error) => error.code);
  assert.is(over, 'ECONNRESET');
  assert.is((await client.ask({ method: 'PUT', path: `${location}?digest=${digest}` })).status, 201);
  assert.equal(await pulled(client), content);
});

uploads('a client that stalls is let go, and its upload can go on', async (context) => {
  context.registry = await context.registry.restart({ stallMs: 200 });
  const client = await context.registry.client();
  const location = await client.begin('app');
  const { sent } = await client.open('PATCH', location, { 'content-length': content.length });
  sent.write(content.subarray(0, 1000));
  const [error] = (await once(sent, 'error')) as [NodeJS.ErrnoException];
  assert.is(error.code, 'ECONNRESET');
  assert.ok((await goOn(client, location)) <= 1000);
  assert.is((await client.ask({ method: 'PUT', path: `${location}?digest=${digest}` })).status, 201);
});

uploads('an upload outlives a restart; what a crash left without an owner is cleared away', async (context) => {
  const { client, registry } = context;
  const location = await client.begin('app');
  await client.ask({ method: 'PATCH', path: location, body: content.subarray(0, 100_000) });
  const folder = join(registry.folder, 'content', 'uploads');
  writeFileSync(join(folder, '00000000-0000-0000-0000-000000000000'), 'no owner');
  writeFileSync(join(folder, 'half.json'), '{');
  context.registry = await registry.restart();
  const again = await context.registry.client();
  assert.is(left(context.registry).length, 2, 'the upload and whose it is');
  assert.is((await again.ask({ path: location })).headers.range, '0-99999');
  const rest = { 'content-range': '100000-299999' };
  const body = content.subarray(100_000);
  const put = await again.ask({ method: 'PUT', path: `${location}?digest=${digest}`, body, headers: rest });
  assert.is(put.status, 201);
  assert.equal(await pulled(again), content);
});

uploads('uploads that nothing comes for expire, and there are so many at once and no more', async (context) => {
  context.registry = await context.registry.restart({ limits: { uploads: 2, idleMs: 1000 } });
  const { registry } = context;
  const client = await registry.client();
  const first = await client.begin('app');
  await client.begin('app');
  const refused = await client.ask({ method: 'POST', path: '/v2/app/blobs/uploads/' });
  assert.equal([refused.status, codeOf(refused)], [429, 'TOOMANYREQUESTS']);
  assert.ok(Number(refused.headers['retry-after']) > 0);
  await registry.uploads.expire(Date.now());
  assert.is((await client.ask({ path: first })).status, 204, 'not yet');
  await registry.uploads.expire(Date.now() + 2000);
  assert.is((await client.ask({ path: first })).status, 404);
  assert.equal(left(registry), []);
});

uploads('two clients that push the same blob at once both succeed', async ({ registry, client }) => {
  const path = `/v2/app/blobs/uploads/?digest=${digest}`;
  const both = Array.from({ length: 6 }, () => client.ask({ method: 'POST', path, body: content }));
  assert.equal(
    (await Promise.all(both)).map(({ status }) => status),
    Array(6).fill(201),
  );
  assert.equal(await pulled(client), content);
  assert.is((await registry.blobs.list()).length, 1);
});

uploads('a blob of sha512, and one without a byte, are as good as others', async ({ client }) => {
  const long = digestOf(content, 'sha512');
  const location = await client.begin('app', '?digest-algorithm=sha512');
  assert.is((await client.ask({ method: 'PUT', path: `${location}?digest=${long}`, body: content })).status, 201);
  assert.equal(await pulled(client, long), content);
  // Begun as another one, its digest is taken again.
  const late = await client.begin('other');
  assert.is((await client.ask({ method: 'PUT', path: `${late}?digest=${long}`, body: content })).status, 201);
  assert.equal(await pulled(client, await client.pushBlob('app', Buffer.alloc(0))), Buffer.alloc(0));
});

uploads(
  'a blob is mounted where its client may pull it, with or without saying from where',
  async ({ registry, client }) => {
    await client.pushBlob('team/base', content);
    const mount = (who: Client, query: string, repository = 'app') =>
      who.ask({ method: 'POST', path: `/v2/${repository}/blobs/uploads/?mount=${digest}${query}` });
    const stranger = await registry.client('repository:app:pull,push');
    for (const query of ['', '&from=team/base', '&from=nobody', '&from=../team/base']) {
      const refused = await mount(stranger, query);
      assert.equal([refused.status, refused.headers.location !== undefined], [202, true], query);
    }
    assert.is((await client.ask({ path: `/v2/app/blobs/${digest}` })).status, 404);
    const mounted = await mount(client, '&from=team/base');
    assert.equal([mounted.status, mounted.headers.location], [201, `/v2/app/blobs/${digest}`]);
    assert.equal(await pulled(client), content);
    assert.is((await mount(client, '', 'third')).status, 201);
    assert.is((await mount(client, '&from=app', 'team/base')).status, 201);
  },
);

uploads('ranges of a blob are served, also of one that changed hands in between', async ({ client }) => {
  await client.pushBlob('app', content);
  const get = (range: string, more = {}) =>
    client.ask({ path: `/v2/app/blobs/${digest}`, headers: { range, ...more } });
  for (const [range, first, last] of [
    ['bytes=0-0', 0, 0],
    ['bytes=100-199', 100, 199],
    ['bytes=299999-', 299_999, 299_999],
    ['bytes=-10', 299_990, 299_999],
    ['bytes=299990-400000', 299_990, 299_999],
  ] as const) {
    const answer = await get(range);
    assert.equal([answer.status, answer.headers['content-range']], [206, `bytes ${first}-${last}/300000`], range);
    assert.equal(answer.body, content.subarray(first, last + 1));
  }
  for (const range of ['bytes=300000-', 'bytes=5-1', 'bytes=-0']) assert.is((await get(range)).status, 416, range);
  for (const range of ['bytes=0-1,5-6', 'lines=1-2', 'bytes=x-']) assert.is((await get(range)).status, 200, range);
  assert.is((await get('bytes=0-9', { 'if-range': `"${digest}"` })).status, 206);
  assert.is((await get('bytes=0-9', { 'if-range': '"another"' })).status, 200);
});

uploads('a stored blob that was damaged is not served, and can be pushed again', async ({ registry, client }) => {
  await client.pushBlob('app', content);
  const path = registry.blobs.path(digest);
  const damaged = Buffer.from(readFileSync(path));
  damaged[1000] = (damaged[1000] as number) ^ 1;
  writeFileSync(path, damaged);
  const answer = await client.ask({ path: `/v2/app/blobs/${digest}` });
  assert.equal([answer.status, codeOf(answer)], [404, 'BLOB_UNKNOWN']);
  assert.is((await client.ask({ method: 'HEAD', path: `/v2/app/blobs/${digest}` })).status, 404);
  assert.not.ok(existsSync(path));
  await client.pushBlob('app', content);
  assert.equal(await pulled(client), content);
});

uploads.run();
