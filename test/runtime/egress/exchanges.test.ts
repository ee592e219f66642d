import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openEgressClient } from '../../../runtime/egress/client.ts';
import type { EgressClient } from '../../../runtime/egress/egress.ts';
import { EGRESS_LIMITS } from '../../../runtime/egress/limits.ts';
import { systemTrust } from '../../../runtime/egress/trust.ts';
import { egressClient, type Failed, listen, send, soon } from '../../support/egress.ts';
import { headerValues, makeExchange } from '../../support/exchange.ts';

interface Context {
  client: EgressClient;
  url: string;
  port: number;
  /** What the server does with the next requests. */
  serve: RequestListener;
  close(): void;
}

const exchanges = suite<Context>('exchanges');

exchanges.before.each(async (context) => {
  const server = createServer((request, response) => context.serve(request, response));
  context.port = await listen(server);
  context.url = `http://127.0.0.1:${context.port}`;
  context.client = egressClient({ allow: [`127.0.0.1:${context.port}`] });
  context.serve = (_request, response) => response.end();
  context.close = () => {
    server.closeAllConnections();
    server.close();
  };
});
exchanges.after.each(async ({ client, close }) => {
  await client.close();
  close();
});

const bodyOf = (content: Parameters<typeof makeExchange>[0]) => makeExchange(content).exchange.body!;
const failure = (answer: Promise<unknown>) =>
  answer.then(
    () => assert.unreachable('it did not fail') as never,
    (error: Failed) => error,
  );

async function textOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

exchanges('method, target and headers arrive byte for byte, repeated headers too', async (context) => {
  let seen: IncomingMessage | undefined;
  context.serve = (request, response) => {
    seen = request;
    response.end();
  };
  const headers = ['x-many', 'a', 'x-many', 'b', 'cookie', 'c=1', 'cookie', 'd=2', 'x-latin', 'caf\xe9'];
  await send(context.client.open(soon()), `${context.url}/a%2Fb/../c?q=%41&q="|"`, { method: 'PURGE', headers }).answer;
  assert.is(seen?.method, 'PURGE');
  assert.is(seen?.url, '/a%2Fb/../c?q=%41&q="|"');
  const raw = seen?.rawHeaders as string[];
  assert.equal(headerValues(raw, 'x-many'), ['a', 'b']);
  assert.equal(headerValues(raw, 'cookie'), ['c=1', 'd=2']);
  assert.equal(headerValues(raw, 'x-latin'), ['caf\xe9']);
  const own = raw.filter((_, i) => i % 2 === 0 && !headers.includes(raw[i] as string));
  assert.equal(own, ['host', 'connection'], 'nothing else is said of the node or its software');
});

exchanges('the answer arrives as it is: headers repeated, compressed, redirects not followed', async (context) => {
  const zipped = gzipSync('hello');
  context.serve = (_request, response) => {
    const head = [
      'Location',
      'http://127.0.0.1:1/',
      'Set-Cookie',
      'a=1',
      'Set-Cookie',
      'b=2',
      'Keep-Alive',
      'timeout=9',
    ];
    response.writeHead(302, [...head, 'Content-Encoding', 'gzip', 'X-Latin', 'caf\xe9']);
    response.end(zipped);
  };
  const got = await send(context.client.open(soon()), context.url).answer;
  assert.is(got.status, 302);
  assert.equal(headerValues(got.headers, 'set-cookie'), ['a=1', 'b=2']);
  assert.equal(headerValues(got.headers, 'location'), ['http://127.0.0.1:1/']);
  assert.equal(headerValues(got.headers, 'x-latin'), ['caf\xe9']);
  assert.equal(got.body, zipped);
  for (const name of ['connection', 'keep-alive', 'transfer-encoding'])
    assert.equal(headerValues(got.headers, name), []);
});

exchanges(
  'bodies go with their length when it is known, chunked when it is not, and not at all when there is none',
  async (context) => {
    context.serve = async (request, response) => {
      const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
      const body = await textOf(request);
      response.end(JSON.stringify([body, length ?? null, coding ?? null]));
    };
    const session = context.client.open(soon());
    const said = async (init: Parameters<typeof send>[2]) =>
      JSON.parse((await send(session, context.url, init).answer).body.toString());
    assert.equal(await said({ body: bodyOf({ body: 'whole' }) }), ['whole', '5', null]);
    const pieces = [Buffer.from('in '), Buffer.from('pieces')];
    assert.equal(await said({ body: bodyOf({ body: pieces }) }), ['in pieces', null, 'chunked']);
    const told = ['content-length', '9'];
    assert.equal(await said({ body: bodyOf({ body: pieces }), headers: told }), ['in pieces', '9', null]);
    assert.equal(await said({ body: bodyOf({ body: '' }) }), ['', '0', null]);
    assert.equal(await said({ method: 'GET', body: bodyOf({ body: [] }) }), ['', null, null]);
    assert.equal(await said({ method: 'GET', body: bodyOf({ body: 'odd' }) }), ['odd', '3', null]);
    assert.equal(await said({ method: 'DELETE' }), ['', null, null]);
  },
);

exchanges('1xx answers are taken off', async (context) => {
  context.serve = (_request, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' }, () => response.writeHead(204).end());
  };
  const got = await send(context.client.open(soon()), context.url).answer;
  assert.equal([got.status, headerValues(got.headers, 'link')], [204, []]);
});

exchanges('trailers of the answer are told', async (context) => {
  context.serve = (_request, response) => {
    response.writeHead(200, { trailer: 'x-sum' });
    response.write('body');
    response.addTrailers({ 'X-Sum': '42' });
    response.end();
  };
  const got = await send(context.client.open(soon()), context.url).answer;
  assert.equal([got.body.toString(), got.trailers], ['body', ['x-sum', '42']]);
});

exchanges('what a guest may not send is refused before anything is', async (context) => {
  let connections = 0;
  context.serve = (_request, response) => {
    connections++;
    response.end();
  };
  const session = context.client.open(soon());
  const cases: [kind: string, init: Parameters<typeof send>[2], url?: string][] = [
    ...['connection', 'Host', 'transfer-encoding', 'upgrade', 'keep-alive', 'proxy-connection', 'expect'].map(
      (name) => ['HTTP-request-denied', { headers: [name, 'x'] }] as [string, { headers: string[] }],
    ),
    ['HTTP-request-denied', { headers: ['te', 'gzip'] }],
    ['HTTP-protocol-error', { headers: ['x', 'a\r\nb: c'] }],
    ['HTTP-protocol-error', { headers: ['a b', 'c'] }],
    ['HTTP-request-method-invalid', { method: 'CONNECT' }],
    ['HTTP-request-method-invalid', { method: 'GET /x HTTP/1.1\r\n' }],
    ['HTTP-request-URI-invalid', { target: '/a b' }],
    ['HTTP-request-URI-invalid', { target: '*' }],
    ['HTTP-request-URI-invalid', { authority: 'user@127.0.0.1' }],
    ['HTTP-request-URI-too-long', { target: `/${'x'.repeat(EGRESS_LIMITS.targetBytes)}` }],
    ['HTTP-request-header-section-size', { headers: ['x', 'y'.repeat(EGRESS_LIMITS.requestHeaderBytes)] }],
    ['HTTP-request-body-size', { headers: ['content-length', '5'] }],
    [
      'HTTP-request-body-size',
      { headers: ['content-length', '1', 'content-length', '1'], body: bodyOf({ body: 'x' }) },
    ],
    ['HTTP-request-body-size', { headers: ['content-length', '2'], body: bodyOf({ body: 'x' }) }],
  ];
  for (const [kind, init] of cases) {
    assert.is((await failure(send(session, context.url, init).answer)).kind, kind, JSON.stringify(init).slice(0, 80));
  }
  assert.is(connections, 0);
});

exchanges('an answer that is taken slowly slows its server down', async (context) => {
  const piece = Buffer.alloc(64 * 1024);
  let written = 0;
  let blocked!: () => void;
  const full = new Promise<void>((resolve) => {
    blocked = resolve;
  });
  const write = (response: ServerResponse) => {
    while (written < 4096 * piece.length) {
      written += piece.length;
      if (!response.write(piece)) {
        // The socket takes no more, and does not for a while.
        const timer = setTimeout(blocked, 300);
        response.once('drain', () => {
          clearTimeout(timer);
          write(response);
        });
        return;
      }
    }
    response.end();
  };
  context.serve = (_request, response) => write(response);
  const sent = send(context.client.open(soon()), context.url);
  await sent.head;
  sent.call.pause();
  await full;
  const received = sent.received();
  assert.ok(received < 32 * piece.length, `${received} bytes were received while paused`);
  assert.ok(written < 4096 * piece.length);
  sent.call.cancel();
});

exchanges('a server that takes a body slowly slows the function down', async (context) => {
  let request!: IncomingMessage;
  const arrived = new Promise<void>((resolve) => {
    context.serve = (incoming, response) => {
      request = incoming;
      incoming.pause();
      resolve();
      incoming.on('end', () => response.end());
    };
  });
  const piece = Buffer.alloc(256 * 1024);
  const upload = makeExchange({
    body: (async function* () {
      for (let i = 0; i < 256; i++) yield piece;
    })(),
  });
  const sent = send(context.client.open(soon()), context.url, { body: upload.exchange.body });
  await arrived;
  let before = -1;
  // As long as the sockets on the way still take something.
  while (before !== upload.sent()) {
    before = upload.sent();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(upload.sent() < 64 * piece.length, `${upload.sent()} bytes went out`);
  request.resume();
  await sent.answer;
  assert.is(upload.sent(), 256 * piece.length);
});

exchanges('a call that is cancelled breaks its connection off', async (context) => {
  const closed = new Promise<void>((resolve) => {
    context.serve = (request, response) => {
      response.write('begin');
      request.once('close', resolve);
    };
  });
  const sent = send(context.client.open(soon()), context.url);
  await sent.head;
  sent.call.cancel();
  sent.call.cancel();
  await closed;
});

exchanges('a session that is closed ends its calls, and takes no more', async (context) => {
  const reached = new Promise<void>((resolve) => {
    context.serve = () => resolve();
  });
  const session = context.client.open(soon());
  const sent = send(session, context.url);
  await reached;
  session.close();
  assert.is((await failure(send(session, context.url).answer)).kind, 'connection-terminated');
  const silent = await Promise.race([
    sent.answer.then(
      () => 'answer',
      () => 'error',
    ),
    Promise.resolve('nothing'),
  ]);
  assert.is(silent, 'nothing', 'who closes it is told no more');
});

exchanges('a client that is closed ends its calls with an error', async (context) => {
  const reached = new Promise<void>((resolve) => {
    context.serve = () => resolve();
  });
  const sent = send(context.client.open(soon()), context.url);
  await reached;
  const [failed] = await Promise.all([failure(sent.answer), context.client.close()]);
  assert.is(failed.kind, 'connection-terminated');
  assert.is((await failure(send(context.client.open(soon()), context.url).answer)).kind, 'connection-terminated');
});

const quick = { connectMs: null, firstByteMs: null, betweenBytesMs: null };

exchanges('each wait has its own end: for the head, between two pieces, at the deadline', async (context) => {
  context.serve = () => {};
  const late = send(context.client.open(soon()), context.url, { timeouts: { ...quick, firstByteMs: 50 } });
  assert.is((await failure(late.answer)).kind, 'HTTP-response-timeout');
  context.serve = (_request, response) => void response.write('begin');
  const stuck = send(context.client.open(soon()), context.url, { timeouts: { ...quick, betweenBytesMs: 50 } });
  const failed = await failure(stuck.answer);
  assert.equal([failed.kind, failed.body.toString()], ['connection-read-timeout', 'begin']);
  const due = await failure(send(context.client.open(performance.now() + 50), context.url).answer);
  assert.is(due.kind, 'HTTP-response-timeout');
  assert.match(due.message, 'deadline');
});

exchanges(
  'a slow guest is not a slow server: the time between two pieces stands still while paused',
  async (context) => {
    let response!: ServerResponse;
    context.serve = (_request, answer) => {
      response = answer;
      answer.write('begin');
    };
    const sent = send(context.client.open(soon()), context.url, { timeouts: { ...quick, betweenBytesMs: 50 } });
    await sent.head;
    sent.call.pause();
    await new Promise((resolve) => setTimeout(resolve, 150));
    response.end(' end');
    sent.call.resume();
    assert.is((await sent.answer).body.toString(), 'begin end');
  },
);

exchanges('no connection within the connect timeout: told as that, and nothing is sent later', async (context) => {
  const { port } = context;
  const waiting: ((addresses: string[]) => void)[] = [];
  let silent = true;
  const resolve = async () => {
    return silent ? new Promise<string[]>((done) => waiting.push(done)) : ['127.0.0.1'];
  };
  const client = openEgressClient({
    allow: [`127.0.0.1:${port}`, `slow.test:${port}`],
    resolve,
    trust: systemTrust({}),
  });
  const seen: string[] = [];
  context.serve = (request, response) => {
    seen.push(request.url as string);
    response.end();
  };
  const url = `http://slow.test:${port}`;
  const late = send(client.open(soon()), `${url}/late`, { timeouts: { ...quick, connectMs: 50 } });
  assert.is((await failure(late.answer)).kind, 'connection-timeout');
  const next = send(client.open(soon()), `${url}/next`);
  while (waiting.length < 2) await new Promise(setImmediate);
  silent = false;
  for (const answer of waiting) answer(['127.0.0.1']);
  await next.answer;
  await send(client.open(soon()), `${url}/last`).answer;
  assert.equal(seen, ['/next', '/last']);
  await client.close();
});

exchanges('an answer that breaks off is told as incomplete, never as an end', async (context) => {
  context.serve = (_request, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('part');
    setImmediate(() => response.destroy());
  };
  const whole = await failure(send(context.client.open(soon()), context.url).answer);
  assert.is(whole.kind, 'HTTP-response-incomplete');
  context.serve = (_request, response) => {
    response.write('part');
    setImmediate(() => response.destroy());
  };
  const chunked = await failure(send(context.client.open(soon()), context.url).answer);
  assert.is(chunked.kind, 'HTTP-response-incomplete');
  context.serve = (request) => request.socket.destroy();
  assert.is((await failure(send(context.client.open(soon()), context.url).answer)).kind, 'connection-terminated');
});

exchanges('what is not HTTP is told as such', async () => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.resume();
    socket.end('SSH-2.0-server\r\n');
  });
  const port = await listen(server);
  const client = egressClient({ allow: [`127.0.0.1:${port}`] });
  const failed = await failure(send(client.open(soon()), `http://127.0.0.1:${port}/`).answer);
  assert.is(failed.kind, 'HTTP-protocol-error');
  await client.close();
  server.close();
  await once(server, 'close');
});

exchanges('headers without an end are not taken', async (context) => {
  context.serve = (_request, response) => {
    response.setHeader('x', 'y'.repeat(EGRESS_LIMITS.responseHeaderBytes));
    response.end();
  };
  const failed = await failure(send(context.client.open(soon()), context.url).answer);
  assert.is(failed.kind, 'HTTP-response-header-section-size');
});

exchanges.run();
