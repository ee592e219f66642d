/** Where a registry may send a node, and what it is shown there. Loopback stands for the internet but for one address. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { remoteAccess } from '../../../daemon/remote-access.ts';
import { SkerryError } from '../../../errors/skerry-error.ts';
import { parseChallenges } from '../../../images/remote/challenge.ts';
import { RemoteRepository, Transport } from '../../../images/remote/index.ts';
import { digestOf } from '../../../images/store/index.ts';

const PRIVATE = '127.0.0.9';
const signal = new AbortController().signal;
const blob = { digest: digestOf(Buffer.from('hello')), size: 5 };

async function serve(host: string, answer: RequestListener) {
  const seen: { url: string; authorization: string | undefined }[] = [];
  const server = createServer((request, response) => {
    seen.push({ url: request.url as string, authorization: request.headers.authorization });
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const url = `http://${host}:${(server.address() as AddressInfo).port}`;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url, seen, close };
}

function repositoryAt(url: string, more: object = {}) {
  const options = { ...remoteAccess(), isSpecialAddress: (address: string) => address === PRIVATE, ...more };
  const transport = new Transport({ ...options, registry: new URL(url).host, url, insecure: false });
  const credentials = { username: 'me', password: 'hunter2' };
  const image = 'registry/app:v1';
  return {
    transport,
    repository: new RemoteRepository({ transport, repository: 'app', image, access: 'pull', credentials }),
  };
}

async function read(repository: RemoteRepository): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of repository.blob(blob, signal)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => new Error('it was not refused'),
    (reason) => reason,
  );
  return error instanceof SkerryError ? error.code : String(error);
}

test('a redirect is followed without the credentials, and never to an address of the own network', async () => {
  const storage = await serve('127.0.0.1', (_request, response) => response.end('hello'));
  const inner = await serve(PRIVATE, (_request, response) => response.end('hello'));
  let to = storage.url;
  const registry = await serve('127.0.0.1', (request, response) => {
    if (request.headers.authorization) return response.writeHead(307, { location: `${to}/blob?signature=1` }).end();
    response.writeHead(401, { 'www-authenticate': 'Basic realm="registry"' }).end();
  });
  const { transport, repository } = repositoryAt(registry.url);
  try {
    assert.is(await read(repository), 'hello');
    assert.equal(storage.seen, [{ url: '/blob?signature=1', authorization: undefined }]);
    for (const target of [inner.url, inner.url.replace(PRIVATE, '0x7f.9'), 'ftp://127.0.0.1', 'file:///etc/passwd']) {
      to = target;
      assert.is(await refusal(read(repository)), 'REGISTRY_REDIRECT', target);
    }
    to = registry.url;
    assert.is(await refusal(read(repository)), 'REGISTRY_REDIRECT', 'round and round');
    assert.equal(inner.seen, []);
  } finally {
    await transport.close();
    for (const server of [storage, inner, registry]) server.close();
  }
});

test('a name that leads to an address of the own network is not followed either', async () => {
  const inner = await serve('127.0.0.1', (_request, response) => response.end('hello'));
  const registry = await serve('127.0.0.2', (_request, response) =>
    response.writeHead(307, { location: inner.url.replace('127.0.0.1', 'localhost') }).end(),
  );
  const isSpecialAddress = (address: string) => address === '::1' || address === '127.0.0.1';
  const { transport, repository } = repositoryAt(registry.url, { isSpecialAddress });
  // One that is itself at such an address may send there.
  const own = repositoryAt(registry.url, { isSpecialAddress: () => true });
  try {
    assert.is(await refusal(read(repository)), 'REGISTRY_REDIRECT');
    assert.equal(inner.seen, []);
    assert.is(await read(own.repository), 'hello');
  } finally {
    await transport.close();
    await own.transport.close();
    inner.close();
    registry.close();
  }
});

test('a server of tokens at an address of the own network gets nothing', async () => {
  const inner = await serve(PRIVATE, (_request, response) => response.end('{"token":"x"}'));
  const registry = await serve('127.0.0.1', (_request, response) =>
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${inner.url}/token",service="x"` }).end(),
  );
  const { transport, repository } = repositoryAt(registry.url);
  try {
    assert.is(await refusal(read(repository)), 'REGISTRY_REDIRECT');
    assert.equal(inner.seen, []);
  } finally {
    await transport.close();
    inner.close();
    registry.close();
  }
});

test('a token with a line break, or none, is a failure of the registry', async () => {
  for (const token of ['{"token":"a\\r\\nx: y"}', '{}', 'null', '[', `{"token":"${'a'.repeat(70_000)}"}`]) {
    const registry = await serve('127.0.0.1', ({ url = '' }, response) => {
      if (url.startsWith('/token')) return response.end(token);
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${registry.url}/token"` }).end();
    });
    const { transport, repository } = repositoryAt(registry.url);
    try {
      assert.match(await refusal(read(repository)), /^(REGISTRY_FAILED|IMAGE_MALFORMED)$/);
    } finally {
      await transport.close();
      registry.close();
    }
  }
});

test('challenges are read as RFC 9110 has them', () => {
  const parsed = parseChallenges('Basic realm="a \\"b\\"", Bearer realm="https://x/token",service=y , scope="a:b:c,d"');
  assert.equal(
    parsed.map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]),
    [
      ['basic', { realm: 'a "b"' }],
      ['bearer', { realm: 'https://x/token', service: 'y', scope: 'a:b:c,d' }],
    ],
  );
  for (const broken of ['', ',,,', '="x"', 'Bearer realm="', 'Bearer realm=', '"', 'a'.repeat(1e5)])
    parseChallenges(broken);
});

test.run();
