import { createHmac, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { matches } from '../../../images/registry/auth/scope.ts';
import { types } from '../../support/image-builder.ts';
import { basic, Client, codeOf, OwnRegistry } from '../../support/own-registry.ts';
import { ask } from '../../support/test-node.ts';

const key = randomBytes(32);
const auth = suite<{ registry: OwnRegistry }>('who may do what in the registry');

auth.before.each(async (context) => {
  context.registry = await OwnRegistry.start({ key });
});
auth.after.each(({ registry }) => registry.end());

const get = ({ url }: OwnRegistry, path: string, headers: Record<string, string> = {}) => ask(url, { path, headers });
const withBearer = (bearer: string) => ({ authorization: `Bearer ${bearer}` });

/** A bearer token as the node itself would sign it. */
function forged(claims: object, secret: Uint8Array = key): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `${payload}.${createHmac('sha256', secret).update(payload).digest('base64url')}`;
}

auth('without credentials everything is 401 with a challenge that says where to go', async ({ registry }) => {
  const base = await get(registry, '/v2/');
  assert.is(base.status, 401);
  assert.is(base.headers['www-authenticate'], `Bearer realm="${registry.url}/token",service="skerry"`);
  assert.is(base.headers['docker-distribution-api-version'], 'registry/2.0');
  assert.is(codeOf(base), 'UNAUTHORIZED');
  for (const [method, path, scope] of [
    ['GET', '/v2/app/manifests/v1', 'repository:app:pull'],
    ['HEAD', '/v2/team/app/blobs/sha256:x', 'repository:team/app:pull'],
    ['POST', '/v2/app/blobs/uploads/', 'repository:app:pull,push'],
    ['PUT', '/v2/app/manifests/v1', 'repository:app:pull,push'],
    ['DELETE', '/v2/app/manifests/v1', 'repository:app:delete'],
    ['GET', '/v2/_catalog', 'registry:catalog:*'],
    ['GET', '/v2/app/tags/list', 'repository:app:pull'],
    ['GET', '/v2/what/ever', null],
    ['GET', '/v2/A/tags/list', null],
  ] as const) {
    const answer = await ask(registry.url, { method, path });
    const expected = `service="skerry"${scope === null ? '' : `,scope="${scope}"`}`;
    assert.is(answer.status, 401, path);
    assert.ok((answer.headers['www-authenticate'] as string).endsWith(expected), path);
  }
});

auth('the challenge names the host that was asked, and nothing that is none', async ({ registry }) => {
  const realm = async (host: string) =>
    /realm="([^"]*)"/.exec((await get(registry, '/v2/', { host })).headers['www-authenticate'] as string)?.[1];
  assert.is(await realm('registry.example:5050'), 'http://registry.example:5050/token');
  for (const host of ['a",error="x', 'user@host', 'a b']) {
    const { status, headers } = await get(registry, '/v2/', { host });
    const challenge = `Bearer realm="${registry.url}/token",service="skerry"`;
    assert.ok(status === 400 || headers['www-authenticate'] === challenge, host);
  }
});

auth('the token endpoint gives what was asked for, as far as the token allows it', async ({ registry }) => {
  const client = await registry.client('repository:team/*:pull,push', 'repository:base:pull');
  await (await registry.client()).pushImage('team/app', 'v1', 'a layer');
  const headers = { authorization: basic(client.name, client.token) };
  const answer = await get(registry, '/token?service=skerry&scope=repository:team/app:pull', headers);
  const body = answer.json();
  assert.equal([answer.status, body.token, body.expires_in], [200, body.access_token, 300]);
  assert.ok(Date.parse(body.issued_at) <= Date.now());
  assert.is(answer.headers['cache-control'], 'no-store');
  const pull = withBearer(body.token);
  assert.is((await get(registry, '/v2/', pull)).status, 200);
  assert.is((await get(registry, '/v2/team/app/manifests/v1', pull)).status, 200);
  // Not asked for: the client is told to ask again.
  const push = await ask(registry.url, { method: 'POST', path: '/v2/team/app/blobs/uploads/', headers: pull });
  assert.is(push.status, 401);
  assert.match(
    push.headers['www-authenticate'] as string,
    /scope="repository:team\/app:pull,push",error="insufficient_scope"/,
  );
  // Several scopes, in one parameter or in several.
  for (const scopes of [
    ['repository:team/a:pull,push repository:base:pull'],
    ['repository:team/a:push', 'repository:base:pull'],
  ]) {
    const both = withBearer(await client.bearer(...scopes));
    assert.is(
      (await ask(registry.url, { method: 'POST', path: '/v2/team/a/blobs/uploads/', headers: both })).status,
      202,
    );
    assert.is((await get(registry, '/v2/base/tags/list', both)).status, 404);
  }
});

auth('a bearer token for more than its holder may has only what he may', async ({ registry }) => {
  const client = await registry.client('repository:team/*:pull');
  await (await registry.client()).pushImage('team/app', 'v1', 'a layer');
  const head = withBearer(await client.bearer('repository:team/app:*', 'repository:other:pull,push,delete'));
  assert.is((await get(registry, '/v2/team/app/manifests/v1', head)).status, 200);
  for (const [method, path] of [
    ['POST', '/v2/team/app/blobs/uploads/'],
    ['DELETE', '/v2/team/app/manifests/v1'],
    ['GET', '/v2/other/tags/list'],
    ['POST', '/v2/other/blobs/uploads/'],
    // Neither a prefix nor another spelling of what is allowed.
    ['GET', '/v2/team2/tags/list'],
    ['GET', '/v2/teams/team/app/tags/list'],
  ] as const) {
    const answer = await ask(registry.url, { method, path, headers: head });
    assert.equal([answer.status, codeOf(answer)], [403, 'DENIED'], `${method} ${path}`);
  }
});

auth('a bearer token for as many repositories as may be asked for at once still works', async ({ registry }) => {
  const client = await registry.client();
  const names = Array.from({ length: 40 }, (_, i) => `${'a'.repeat(250)}${i}`);
  const scopes = [
    'repository:../x:pull',
    'registry:catalog:*',
    'nonsense',
    ...names.map((name) => `repository:${name}:*`),
  ];
  const head = withBearer(await client.bearer(...scopes));
  const status = async (name: string) => (await get(registry, `/v2/${name}/tags/list`, head)).status;
  assert.equal([await status(names[0]!), await status(names.at(-1)!)], [404, 401], 'the first of them, and no more');
});

auth('wrong credentials are refused, whatever else is allowed', async (context) => {
  context.registry = await context.registry.restart({ anonymous: [{ pattern: '*', actions: ['pull'] }] });
  const { registry } = context;
  const { name, token } = await registry.client();
  for (const authorization of [
    basic(name, `${token}x`),
    basic(name, ''),
    basic('nobody', token),
    basic('', token),
    basic('../state', token),
    'Basic',
    'Basic !!!',
    `Bearer ${token}`,
    '',
  ]) {
    const answer = await get(registry, '/token?service=skerry', { authorization });
    assert.equal([answer.status, codeOf(answer)], [401, 'UNAUTHORIZED'], authorization);
  }
  // The token itself is no bearer token, nor are Basic credentials taken in its place.
  for (const authorization of [
    `Bearer ${token}`,
    basic(name, token),
    'Bearer',
    'Bearer a.b',
    'Bearer ..',
    'Digest x',
  ]) {
    const answer = await get(registry, '/v2/', { authorization });
    assert.is(answer.status, 401, authorization);
    assert.match(answer.headers['www-authenticate'] as string, /error="invalid_token"/);
  }
});

auth('an expired, a changed and a foreign bearer token are nothing', async ({ registry }) => {
  const { name, token } = await registry.client();
  const { id } = registry.tokens.verify(name, token)!;
  const access = [{ repository: 'app', actions: ['pull', 'push'] }];
  const soon = Math.floor(Date.now() / 1000) + 60;
  const status = async (bearer: string) => (await get(registry, '/v2/', withBearer(bearer))).status;
  const claims = { name, id, access, expires: soon };
  assert.is(await status(forged(claims)), 200, 'as it should be');
  assert.is(await status(forged({ ...claims, expires: soon - 61 })), 401, 'expired');
  assert.is(await status(forged(claims, randomBytes(32))), 401, 'of another node');
  assert.is(await status(forged({ ...claims, id: 'another' })), 401, 'of a token that was made anew');
  assert.is(await status(forged({ ...claims, name: null, id: null })), 401, 'of nobody');
  const [payload, signature] = forged(claims).split('.') as [string, string];
  const more = Buffer.from(JSON.stringify({ ...claims, expires: soon + 1e6 })).toString('base64url');
  assert.is(await status(`${more}.${signature}`), 401, 'changed');
  assert.is(await status(`${payload}.`), 401);
  assert.is(await status('x'.repeat(20_000)), 401);
});

auth(
  'what was issued for a removed token is void at once, also when there is another of its name',
  async ({ registry }) => {
    const client = await registry.client();
    await client.pushImage('app', 'v1', 'a layer');
    const bearer = withBearer(await client.bearer('repository:app:pull'));
    assert.is((await get(registry, '/v2/app/manifests/v1', bearer)).status, 200);
    await registry.tokens.remove(client.name);
    assert.is((await get(registry, '/v2/app/manifests/v1', bearer)).status, 401);
    assert.match(await client.bearer('repository:app:pull').catch(String), /401/);
    const again = new Client(registry.url, client.name, await registry.tokens.create(client.name, ['repository:*:*']));
    assert.is((await get(registry, '/v2/app/manifests/v1', bearer)).status, 401);
    assert.ok(await again.bearer('repository:app:pull'));
  },
);

auth('nobody pulls without a token, unless the node says from where; pushing needs one always', async (context) => {
  const { registry: closed } = context;
  assert.equal([(await get(closed, '/token?scope=repository:app:pull')).status], [401]);
  await (await closed.client()).pushImage('public/app', 'v1', 'a layer');
  await (await closed.client()).pushImage('app', 'v1', 'a layer');
  context.registry = await closed.restart({ anonymous: [{ pattern: 'public/*', actions: ['pull'] }] });
  const { registry } = context;
  assert.is((await get(registry, '/v2/')).status, 401, 'still');
  const scope = 'scope=repository:public/app:pull,push&scope=repository:app:pull';
  const head = withBearer((await get(registry, `/token?${scope}`)).json().token);
  assert.is((await get(registry, '/v2/', head)).status, 200);
  assert.is((await get(registry, '/v2/public/app/manifests/v1', head)).status, 200);
  assert.is((await get(registry, '/v2/app/manifests/v1', head)).status, 401);
  const push = await ask(registry.url, { method: 'POST', path: '/v2/public/app/blobs/uploads/', headers: head });
  assert.is(push.status, 401);
  const catalog = await get(registry, '/v2/_catalog', head);
  assert.equal([catalog.status, codeOf(catalog)], [403, 'DENIED']);
  // Taken back, it is over for those that were issued as well.
  context.registry = await registry.restart({ anonymous: [] });
  assert.is((await get(context.registry, '/v2/public/app/manifests/v1', head)).status, 401);
});

auth(
  'the OAuth2 form of the token endpoint takes a password, and the token as a refresh token',
  async ({ registry }) => {
    const client = await registry.client('repository:app:pull,push');
    const post = (fields: Record<string, string>) =>
      ask(registry.url, {
        method: 'POST',
        path: '/token',
        body: new URLSearchParams({ service: 'skerry', client_id: 'test', ...fields }).toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      });
    const scope = 'repository:app:pull,push';
    const password = { grant_type: 'password', username: client.name, password: client.token, scope };
    const first = await post({ ...password, access_type: 'offline' });
    assert.equal([first.status, first.json().scope, first.json().refresh_token], [200, scope, client.token]);
    const second = await post({ grant_type: 'refresh_token', refresh_token: client.token, scope });
    const head = withBearer(second.json().access_token);
    assert.is((await ask(registry.url, { method: 'POST', path: '/v2/app/blobs/uploads/', headers: head })).status, 202);
    for (const bad of [
      { ...password, password: 'x' },
      { grant_type: 'refresh_token', refresh_token: '' },
      { grant_type: 'x' },
      {},
    ])
      assert.is((await post(bad as Record<string, string>)).status, 401);
    assert.is((await post({ ...password, long: 'x'.repeat(100_000) })).status, 413);
  },
);

auth('the catalog shows its caller the repositories that he may pull, in pages', async ({ registry }) => {
  const all = await registry.client();
  for (const name of ['a', 'team/x', 'team/y', 'z']) await all.pushImage(name, 'v1', name);
  const catalog = async (client: Client, query = '') =>
    get(registry, `/v2/_catalog${query}`, withBearer(await client.bearer('registry:catalog:*')));
  assert.equal((await catalog(all)).json(), { repositories: ['a', 'team/x', 'team/y', 'z'] });
  const team = await registry.client('repository:team/*:pull', 'repository:z:push');
  assert.equal((await catalog(team)).json(), { repositories: ['team/x', 'team/y'] });
  const page = await catalog(team, '?n=1');
  assert.equal(
    [page.json().repositories, page.headers.link],
    [['team/x'], '</v2/_catalog?n=1&last=team%2Fx>; rel="next"'],
  );
});

auth('of a token a hash is kept and nothing else', async ({ registry }) => {
  const { token } = await registry.client();
  assert.match(token, /^skerry_[\w-]{43}$/);
  const state = join(registry.folder, 'state');
  for (const name of readdirSync(state)) assert.not.ok(readFileSync(join(state, name)).includes(token), name);
});

auth('names and scopes of tokens are held to their grammar', async ({ registry }) => {
  const refused = async (name: string, scopes: string[], pattern: RegExp) =>
    assert.match(await registry.tokens.create(name, scopes).catch(String), pattern);
  for (const name of ['', 'a:b', 'a b', '-x', 'x'.repeat(65), '../x'])
    await refused(name, ['repository:*:pull'], /TOKEN_INVALID/);
  for (const scope of [
    '',
    'repository',
    'repository:app',
    'repository:app:',
    'repository:app:fly',
    'repository:app:pull,',
    'repository:A:pull',
    'registry:catalog:*',
    'repository:a:pull:x',
    'repository::pull',
  ])
    await refused('ci', [scope], /TOKEN_INVALID.*|is not a scope/);
  await refused('ci', [], /needs 1/);
  await registry.tokens.create('ci', ['repository:a*b/**:*']);
  await refused('ci', ['repository:*:pull'], /TOKEN_EXISTS/);
  assert.equal(registry.tokens.list(), [
    { name: 'ci', scopes: ['repository:a*b/**:pull,push,delete'], createdAt: registry.tokens.list()[0]!.createdAt },
  ]);
});

auth('a star stands for any characters, slashes too, and no pattern takes long', async () => {
  const cases: [string, string, boolean][] = [
    ['app', 'app', true],
    ['app', 'app2', false],
    ['team/*', 'team/app', true],
    ['team/*', 'team/a/b/c', true],
    ['team/*', 'team', false],
    ['team/*', 'teams/app', false],
    ['*', 'any/thing', true],
    ['*/app', 'a/b/app', true],
    ['a*c', 'abcbc', true],
    ['a*c', 'abcb', false],
    ['a.c', 'abc', false],
    ['**', '', true],
  ];
  for (const [pattern, name, expected] of cases) assert.is(matches(pattern, name), expected, `${pattern} ${name}`);
  assert.is(matches(`${'*a'.repeat(120)}b`, 'a'.repeat(255)), false);
});

auth('a blob that is pushed with a stolen scope stays out of other repositories', async ({ registry }) => {
  const client = await registry.client('repository:mine:pull,push');
  const { manifest } = await client.pushImage('mine', 'v1', 'a layer');
  const path = '/v2/theirs/manifests/v1';
  const headers = { 'content-type': types.manifest, ...(await client.head('mine')) };
  const put = await ask(registry.url, { method: 'PUT', path, body: JSON.stringify(manifest), headers });
  assert.equal([put.status, codeOf(put)], [403, 'DENIED']);
  assert.equal(registry.repositories.names(), ['mine']);
});

auth.run();
