import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { digestOf } from '../../../images/store/index.ts';
import { types } from '../../support/image-builder.ts';
import { type Client, codeOf, OwnRegistry } from '../../support/own-registry.ts';

const manifests = suite<{ registry: OwnRegistry; client: Client }>('manifests, tags and referrers of the registry');

manifests.before.each(async (context) => {
  context.registry = await OwnRegistry.start();
  context.client = await context.registry.client();
});
manifests.after.each(({ registry }) => registry.end());

const absent = digestOf(Buffer.from('not pushed'));

async function refused(client: Client, manifest: object | string, status: number, code: string, message: RegExp) {
  const answer = await client.pushManifest('app', 'bad', manifest);
  assert.equal([answer.status, codeOf(answer)], [status, code]);
  assert.match(answer.json().errors[0].message, message);
  assert.is((await client.ask({ path: '/v2/app/manifests/bad' })).status, 404, 'nothing of it is kept');
}

manifests('a manifest comes back byte for byte, by its tag and by its digest', async ({ client }) => {
  const { manifest } = await client.pushImage('app', 'other', 'a layer');
  const text = JSON.stringify({ ...manifest, annotations: { space: '  ' } }, null, 3);
  const digest = digestOf(Buffer.from(text));
  const put = await client.pushManifest('app', 'v1', text);
  assert.equal([put.status, put.headers['docker-content-digest']], [201, digest]);
  assert.is(put.headers.location, `/v2/app/manifests/${digest}`);
  for (const reference of ['v1', digest]) {
    const got = await client.ask({ path: `/v2/app/manifests/${reference}` });
    assert.equal([got.status, got.body.toString(), got.headers['content-type']], [200, text, types.manifest]);
    const head = await client.ask({ method: 'HEAD', path: `/v2/app/manifests/${reference}` });
    assert.equal([head.status, head.headers['content-length'], head.body.length], [200, String(text.length), 0]);
    assert.is(head.headers['docker-content-digest'], digest);
  }
});

manifests(
  'a manifest that names what the repository does not have is refused, and names it',
  async ({ registry, client }) => {
    const { manifest, digest } = await client.pushImage('app', 'v1', 'a layer');
    const named = new RegExp(absent);
    const layers = [{ ...manifest.layers[0], digest: absent }];
    await refused(client, { ...manifest, layers }, 404, 'MANIFEST_BLOB_UNKNOWN', named);
    const config = { ...manifest.config, digest: absent };
    await refused(client, { ...manifest, config }, 404, 'MANIFEST_BLOB_UNKNOWN', named);
    const index = {
      schemaVersion: 2,
      mediaType: types.index,
      manifests: [{ mediaType: types.manifest, digest: absent, size: 3 }],
    };
    await refused(client, index, 404, 'MANIFEST_BLOB_UNKNOWN', named);
    // What another repository has is not in this one; a blob is no manifest.
    const elsewhere = await client.pushManifest('other', 'v1', manifest);
    assert.is(codeOf(elsewhere), 'MANIFEST_BLOB_UNKNOWN');
    const blob = { ...index, manifests: [{ mediaType: types.manifest, digest: manifest.config.digest, size: 3 }] };
    await refused(client, blob, 404, 'MANIFEST_BLOB_UNKNOWN', /names/);
    const good = { ...index, manifests: [{ mediaType: types.manifest, digest, size: 3 }] };
    assert.is((await client.pushManifest('app', 'all', good)).status, 201);
    assert.is(registry.failures.length, 0);
  },
);

manifests('layers that may not be passed on need not be there', async ({ client }) => {
  const { manifest } = await client.pushImage('app', 'v1', 'a layer');
  const foreign = { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar', digest: absent, size: 1 };
  const answer = await client.pushManifest('app', 'v2', { ...manifest, layers: [...manifest.layers, foreign] });
  assert.is(answer.status, 201);
});

manifests(
  'what is no manifest, of an unknown kind, or two kinds at once is refused with the reason',
  async ({ client }) => {
    const { manifest } = await client.pushImage('app', 'v1', 'a layer');
    const invalid = (document: object | string, message: RegExp) =>
      refused(client, document, 400, 'MANIFEST_INVALID', message);
    await invalid(
      { ...manifest, mediaType: 'application/x-unknown' },
      /media type "application\/x-unknown" is not known/,
    );
    await invalid({ ...manifest, mediaType: 'application/vnd.docker.distribution.manifest.v1+json' }, /not known/);
    await invalid({ ...manifest, manifests: [] }, /a manifest and an index at once/);
    await invalid({ ...manifest, schemaVersion: 1 }, /schemaVersion/);
    await invalid({ ...manifest, config: undefined }, /config/);
    await invalid({ ...manifest, layers: [{ ...manifest.layers[0], digest: 'sha256:../../x' }] }, /layers\.0\.digest/);
    await invalid({ ...manifest, layers: [{ ...manifest.layers[0], size: -1 }] }, /layers\.0\.size/);
    await invalid('[]', /schemaVersion|it/);
    await invalid('null', /./);
    const headers = { 'content-type': types.manifest };
    const ask = (body: string | Uint8Array, more = {}) =>
      client.ask({ method: 'PUT', path: '/v2/app/manifests/bad', body, headers: { ...headers, ...more } });
    for (const body of ['{', '', Buffer.from([0xff, 0xfe]), '\0'])
      assert.is(codeOf(await ask(body)), 'MANIFEST_INVALID');
    const other = await ask(JSON.stringify(manifest), { 'content-type': types.index });
    assert.match(other.json().errors[0].message, /says that it is .*manifest.*, and was sent as .*index/);
    const parameters = await ask(JSON.stringify(manifest), { 'content-type': `${types.manifest}; charset=utf-8` });
    assert.is(parameters.status, 201);
  },
);

manifests('a manifest of 4 MiB is taken, a byte more is not, however it is sent', async ({ client }) => {
  const { manifest } = await client.pushImage('app', 'v1', 'a layer');
  const limit = 4 * 2 ** 20;
  const empty = JSON.stringify({ ...manifest, annotations: { a: '' } }).length;
  const of = (bytes: number) => JSON.stringify({ ...manifest, annotations: { a: 'x'.repeat(bytes - empty) } });
  assert.is((await client.pushManifest('app', 'large', of(limit))).status, 201);
  const more = await client.pushManifest('app', 'larger', of(limit + 1));
  assert.equal([more.status, codeOf(more)], [413, 'MANIFEST_INVALID']);
  const { sent, answered } = await client.open('PUT', '/v2/app/manifests/larger', { 'content-type': types.manifest });
  sent.end(of(limit + 1));
  assert.is(await answered, 413);
  assert.is((await client.ask({ path: '/v2/app/manifests/larger' })).status, 404);
});

manifests('a push by digest must be of that digest, and may give tags', async ({ client }) => {
  const { manifest } = await client.pushImage('app', 'v1', 'a layer');
  const text = JSON.stringify({ ...manifest, annotations: { by: 'digest' } });
  const wrong = await client.pushManifest('app', absent, text);
  assert.equal([wrong.status, codeOf(wrong)], [400, 'DIGEST_INVALID']);
  const bad = await client.pushManifest('app', 'sha256:abc', text);
  assert.equal([bad.status, codeOf(bad)], [400, 'DIGEST_INVALID']);
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const digest = digestOf(Buffer.from(text), algorithm);
    const put = await client.pushManifest('app', `${digest}?tag=one-${algorithm}&tag=two`, text);
    assert.equal([put.status, put.headers['oci-tag']], [201, `one-${algorithm}, two`]);
    const got = await client.ask({ path: `/v2/app/manifests/two` });
    assert.equal([got.body.toString(), got.headers['docker-content-digest']], [text, digest]);
  }
  assert.is((await client.pushManifest('app', `${digestOf(Buffer.from(text))}?tag=../x`, text)).status, 400);
});

manifests('names and tags outside their grammar are refused, and lead to no file', async ({ client, registry }) => {
  const all = { authorization: (await client.head('app')).authorization };
  const path = (name: string) => `/v2/${name}/manifests/v1`;
  for (const name of [
    'App',
    'a//b',
    '-a',
    'a-',
    'a..b',
    'a___b',
    'a/../b/%2e%2e/c',
    'a%2f%2e%2e',
    '%00',
    'a%20b',
    'x'.repeat(256),
  ]) {
    const answer = await client.ask({ path: path(name), headers: all });
    assert.ok([400, 401, 403, 404].includes(answer.status), `${name}: ${answer.status}`);
    const put = await client.ask({ method: 'POST', path: `/v2/${name}/blobs/uploads/`, headers: all });
    assert.ok([400, 401, 403, 404].includes(put.status), `${name}: ${put.status}`);
  }
  const invalid = await client.ask({ path: path('App'), headers: all });
  assert.equal([invalid.status, codeOf(invalid)], [400, 'NAME_INVALID']);
  for (const tag of ['.dot', '-dash', 'a b', 'x'.repeat(129), '..', 'a%2fb', '%00']) {
    const answer = await client.ask({ path: `/v2/app/manifests/${encodeURI(tag).replaceAll('%25', '%')}` });
    assert.ok([400, 404].includes(answer.status), `${tag}: ${answer.status}`);
  }
  assert.equal(registry.repositories.allNames(), []);
  assert.equal(registry.failures, []);
});

manifests('tags are listed in order and in pages', async ({ client }) => {
  const missing = await client.ask({ path: '/v2/app/tags/list' });
  assert.equal([missing.status, codeOf(missing)], [404, 'NAME_UNKNOWN']);
  const { manifest } = await client.pushImage('app', 'b', 'a layer');
  for (const tag of ['a', 'C', 'd_1', 'd.2']) await client.pushManifest('app', tag, manifest);
  const all = ['C', 'a', 'b', 'd.2', 'd_1'];
  const list = (query: string) => client.ask({ path: `/v2/app/tags/list${query}` });
  assert.equal((await list('')).json(), { name: 'app', tags: all });
  const seen: string[] = [];
  for (let path: string | undefined = '/v2/app/tags/list?n=2'; path; ) {
    const answer = await client.ask({ path });
    seen.push(...answer.json().tags);
    path = /^<(.+)>; rel="next"$/.exec((answer.headers.link as string | undefined) ?? '')?.[1];
  }
  assert.equal(seen, all);
  const none = await list('?n=0');
  assert.equal([none.json().tags, none.headers.link], [[], undefined]);
  assert.equal((await list('?n=9')).headers.link, undefined);
  assert.equal((await list('?last=b')).json().tags, ['d.2', 'd_1']);
  assert.equal((await list('?last=bb&n=1')).json().tags, ['d.2']);
  for (const n of ['-1', 'x', '1.5']) assert.is((await list(`?n=${n}`)).status, 400, n);
});

manifests('referrers tell what is about a manifest, by kind, also before that is there', async ({ client }) => {
  const { manifest, digest } = await client.pushImage('app', 'v1', 'a layer');
  const empty = await client.ask({ path: `/v2/app/referrers/${digest}` });
  assert.equal([empty.status, empty.json().manifests, empty.headers['content-type']], [200, [], types.index]);
  const subject = { mediaType: types.manifest, digest, size: 1 };
  const about = async (more: object) => {
    const text = JSON.stringify({ ...manifest, subject, ...more });
    const put = await client.pushManifest('app', digestOf(Buffer.from(text)), text);
    assert.equal([put.status, put.headers['oci-subject']], [201, digest]);
    return digestOf(Buffer.from(text));
  };
  const sbom = await about({ artifactType: 'example/sbom', annotations: { made: 'today' } });
  const config = await about({ annotations: { kind: 'of its configuration' } });
  const index = await about({ mediaType: types.index, manifests: [], config: undefined, layers: undefined });
  const list = async (query = '') => {
    const answer = await client.ask({ path: `/v2/app/referrers/${digest}${query}` });
    return { found: answer.json().manifests, filters: answer.headers['oci-filters-applied'] };
  };
  const { found, filters } = await list();
  assert.is(filters, undefined);
  const byDigest = new Map<string, Record<string, unknown>>(
    found.map((each: { digest: string }) => [each.digest, each]),
  );
  assert.equal([...byDigest.keys()].sort(), [sbom, config, index].sort());
  assert.is(byDigest.get(sbom)!.artifactType, 'example/sbom');
  assert.equal(byDigest.get(sbom)!.annotations, { made: 'today' });
  assert.is(byDigest.get(config)!.artifactType, types.config);
  assert.not.ok('artifactType' in byDigest.get(index)!);
  const filtered = await list('?artifactType=example/sbom');
  assert.equal([filtered.found.length, filtered.filters], [1, 'artifactType']);
  const bad = await client.ask({ path: '/v2/app/referrers/sha256:x' });
  assert.equal([bad.status, codeOf(bad)], [400, 'DIGEST_INVALID']);
  await client.ask({ method: 'DELETE', path: `/v2/app/manifests/${sbom}` });
  assert.is((await list()).found.length, 2);
});

manifests('referrers with more to say than a manifest may hold come in pages', async ({ client }) => {
  const { manifest, digest } = await client.pushImage('app', 'v1', 'a layer');
  const subject = { mediaType: types.manifest, digest, size: 1 };
  for (let i = 0; i < 3; i++) {
    const annotations = { number: String(i), long: 'x'.repeat(1.8 * 2 ** 20) };
    assert.is((await client.pushManifest('app', `r${i}`, { ...manifest, subject, annotations })).status, 201);
  }
  const seen: string[] = [];
  let pages = 0;
  for (let path: string | undefined = `/v2/app/referrers/${digest}`; path; pages++) {
    const answer = await client.ask({ path });
    assert.ok(answer.body.length <= 4 * 2 ** 20);
    seen.push(...answer.json().manifests.map((each: { annotations: { number: string } }) => each.annotations.number));
    path = /^<(.+)>; rel="next"$/.exec((answer.headers.link as string | undefined) ?? '')?.[1];
  }
  assert.equal([seen.sort(), pages], [['0', '1', '2'], 2]);
});

manifests('a tag is deleted alone; a manifest with its tags; a blob from its repository', async ({ client }) => {
  const { digest, manifest, layer } = await client.pushImage('app', 'v1', 'a layer');
  await client.pushManifest('app', 'v2', manifest);
  await client.pushImage('other', 'v1', 'a layer');
  const remove = (path: string) => client.ask({ method: 'DELETE', path });
  const status = async (path: string) => (await client.ask({ method: 'HEAD', path })).status;
  assert.is((await remove('/v2/app/manifests/v1')).status, 202);
  assert.equal([await status('/v2/app/manifests/v1'), await status('/v2/app/manifests/v2')], [404, 200]);
  assert.is((await remove('/v2/app/manifests/v1')).status, 404);
  assert.is((await remove(`/v2/app/manifests/${digest}`)).status, 202);
  assert.equal([await status('/v2/app/manifests/v2'), await status(`/v2/app/manifests/${digest}`)], [404, 404]);
  assert.is((await remove(`/v2/app/blobs/${layer}`)).status, 202);
  assert.equal([await status(`/v2/app/blobs/${layer}`), await status(`/v2/other/blobs/${layer}`)], [404, 200]);
  assert.is((await remove(`/v2/app/blobs/${layer}`)).status, 404);
});

manifests('a tag that is moved while it is pulled gives the old image or the new one, whole', async ({ client }) => {
  const images = await Promise.all(['one', 'two'].map((each) => client.pushImage('app', each, `layer ${each}`)));
  await client.pushManifest('app', 'latest', images[0]!.manifest);
  let moving = true;
  const mover = (async () => {
    for (let i = 0; moving; i++) await client.pushManifest('app', 'latest', images[i % 2]!.manifest);
  })();
  for (let i = 0; i < 40; i++) {
    const got = await client.ask({ path: '/v2/app/manifests/latest' });
    assert.is(digestOf(got.body), got.headers['docker-content-digest']);
    const { layers } = got.json();
    assert.is((await client.ask({ path: `/v2/app/blobs/${layers[0].digest}` })).status, 200);
  }
  moving = false;
  await mover;
});

manifests('methods and paths that there are not are told so, to those who may ask', async ({ client }) => {
  const post = await client.ask({ method: 'POST', path: '/v2/app/manifests/v1' });
  assert.equal([post.status, codeOf(post)], [405, 'UNSUPPORTED']);
  const path = await client.ask({ path: '/v2/app/somewhere/else', headers: await client.head('app') });
  assert.equal([path.status, codeOf(path)], [404, 'UNSUPPORTED']);
  assert.is((await client.ask({ path: '/', headers: {} })).status, 404);
});

manifests.run();
