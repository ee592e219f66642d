import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createSecureServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Authority, makeAuthority } from '../../support/authority.ts';
import { type ClientInit, egressClient, type Failed, listen, send, soon } from '../../support/egress.ts';
import { headerValues, makeExchange } from '../../support/exchange.ts';

interface Context {
  authority: Authority;
  /** A file with the authority's certificate. */
  file: string;
  folder: string;
}

const tls = suite<Context>('TLS and HTTP/2');

const MiB = 2 ** 20;

const closers: (() => unknown)[] = [];

tls.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-tls-'));
  context.authority = makeAuthority();
  context.file = join(context.folder, 'authority.pem');
  writeFileSync(context.file, context.authority.cert);
});
tls.after(({ folder }) => rmSync(folder, { recursive: true, force: true }));
tls.after.each(async () => {
  for (const close of closers.splice(0)) await close();
});

async function serve11(credentials: { key: string; cert: string }): Promise<number> {
  const server = createTlsServer(credentials, (request, response) => response.end(`1.1 ${request.headers.host}`));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return listen(server);
}

async function serve2(credentials: { key: string; cert: string }, onStream: (stream: ServerHttp2Stream) => void) {
  const server: Http2Server = createSecureServer(credentials);
  let sessions = 0;
  server.on('session', () => sessions++);
  server.on('stream', onStream);
  server.on('sessionError', () => {});
  closers.push(() => server.close());
  return { port: await listen(server), sessions: () => sessions };
}

function client(init: ClientInit) {
  const made = egressClient(init);
  // Before the server, which waits for its connections.
  closers.unshift(() => made.close());
  return made;
}

/** A client that may reach `host` (a name for 127.0.0.1, or the address) on `port`. */
const reaching = (port: number, env: Record<string, string>) =>
  client({
    allow: [`a.test:${port}`, `127.0.0.1:${port}`],
    names: { 'a.test': [['127.0.0.1']] },
    env,
  });

const outcome = (made: ReturnType<typeof client>, url: string) =>
  send(made.open(soon()), url).answer.then(
    ({ body }) => body.toString(),
    (error: Failed) => error.kind,
  );

tls('a server whose certificate nobody vouches for is refused', async ({ authority }) => {
  const port = await serve11(authority.issue(['a.test']));
  assert.is(await outcome(reaching(port, {}), `https://a.test:${port}/`), 'TLS-certificate-error');
});

tls("it is trusted when the system trusts its authority: by OpenSSL's variables or Node's", async (context) => {
  const { authority, file, folder } = context;
  const port = await serve11(authority.issue(['a.test']));
  for (const env of [{ SSL_CERT_FILE: file }, { SSL_CERT_DIR: folder }, { NODE_EXTRA_CA_CERTS: file }] as const) {
    assert.is(await outcome(reaching(port, env), `https://a.test:${port}/`), `1.1 a.test:${port}`, Object.keys(env)[0]);
  }
});

tls('a certificate must be good for the host, and for now', async ({ authority, file }) => {
  const env = { SSL_CERT_FILE: file };
  const other = await serve11(authority.issue(['b.test']));
  assert.is(await outcome(reaching(other, env), `https://a.test:${other}/`), 'TLS-certificate-error');
  const old = await serve11(authority.issue(['a.test'], Date.now() - 3 * 24 * 3_600_000));
  assert.is(await outcome(reaching(old, env), `https://a.test:${old}/`), 'TLS-certificate-error');
  const address = await serve11(authority.issue(['127.0.0.1']));
  assert.is(await outcome(reaching(address, env), `https://127.0.0.1:${address}/`), `1.1 127.0.0.1:${address}`);
  const named = await serve11(authority.issue(['a.test']));
  assert.is(await outcome(reaching(named, env), `https://127.0.0.1:${named}/`), 'TLS-certificate-error');
});

tls('a server that speaks no TLS is told as that', async ({ file }) => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.end('HTTP/1.1 200 OK\r\n\r\n');
  });
  closers.push(() => server.close());
  const port = await listen(server);
  assert.is(await outcome(reaching(port, { SSL_CERT_FILE: file }), `https://a.test:${port}/`), 'TLS-protocol-error');
});

tls('HTTP/2 is spoken where the server does: heads, bodies both ways, trailers', async ({ authority, file }) => {
  const { port } = await serve2(authority.issue(['a.test']), (stream) => {
    const pieces: Buffer[] = [];
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.on('end', () => {
      stream.respond({ ':status': 201, 'set-cookie': ['a=1', 'b=2'], 'x-latin': 'caf\xe9' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '42' }));
      stream.end(Buffer.concat(pieces));
    });
  });
  const made = reaching(port, { SSL_CERT_FILE: file });
  const { body } = makeExchange({ body: [Buffer.from('over '), Buffer.from('h2')] }).exchange;
  const got = await send(made.open(soon()), `https://a.test:${port}/x?y`, { body }).answer;
  assert.equal([got.status, got.body.toString(), got.trailers], [201, 'over h2', ['x-sum', '42']]);
  assert.equal(headerValues(got.headers, 'set-cookie'), ['a=1', 'b=2']);
  assert.equal(headerValues(got.headers, 'x-latin'), ['caf\xe9']);
  const empty = makeExchange({ body: [] }).exchange.body;
  assert.is(
    (await send(made.open(soon()), `https://a.test:${port}/`, { method: 'GET', body: empty }).answer).status,
    201,
  );
});

tls('requests over HTTP/2 use connections again', async ({ authority, file }) => {
  const { port, sessions } = await serve2(authority.issue(['a.test']), (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('x');
  });
  const made = reaching(port, { SSL_CERT_FILE: file });
  for (let i = 0; i < 20; i++) assert.is(await outcome(made, `https://a.test:${port}/`), 'x');
  assert.is(sessions(), 1);
});

/** The end of an answer of 1 MiB over HTTP/2 that is paused on the way: its length, or what it failed with. */
async function takeSlowly({ authority, file }: Context, trailers: boolean): Promise<number | string> {
  const { port } = await serve2(authority.issue(['a.test']), (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: trailers });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '42' }));
    stream.end(Buffer.alloc(MiB, 'x'));
  });
  const made = reaching(port, { SSL_CERT_FILE: file });
  const sent = send(made.open(soon()), `https://a.test:${port}/`);
  await sent.head;
  sent.call.pause();
  await outcome(made, `https://a.test:${port}/`);
  sent.call.resume();
  return sent.answer.then(
    ({ body }) => body.length,
    (error: Failed) => error.kind,
  );
}

tls('an HTTP/2 answer that is taken slowly comes whole', async (context) => {
  assert.is(await takeSlowly(context, false), MiB);
});

tls('one whose trailers overtake its body is told as incomplete, never as an end', async (context) => {
  const end = await takeSlowly(context, true);
  assert.ok(end === MiB || end === 'HTTP-response-incomplete', String(end));
});

tls('an HTTP/2 stream that the server resets fails its call alone', async ({ authority, file }) => {
  let count = 0;
  const { port } = await serve2(authority.issue(['a.test']), (stream) => {
    count++;
    stream.on('error', () => {});
    if (count === 1) return stream.close(2);
    stream.respond({ ':status': 200 });
    stream.end('fine');
  });
  const made = reaching(port, { SSL_CERT_FILE: file });
  assert.not.equal(await outcome(made, `https://a.test:${port}/`), 'fine');
  assert.is(await outcome(made, `https://a.test:${port}/`), 'fine');
});

tls.run();
