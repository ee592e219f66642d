import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GatewayExchange } from '../../gateway/exchange.ts';
import { LISTENER_LIMITS, type ListenerLimits } from '../../gateway/listener/limits.ts';
import { listen } from '../../gateway/listener/listen.ts';
import { exchangeRaw, header, RawConnection, type RawResponse } from '../support/raw-http.ts';

type Serve = (exchange: GatewayExchange) => void;

const hello: Serve = ({ reply }) => reply.send(200, ['content-type', 'text/plain'], Buffer.from('hello'));

async function withListener(work: (url: string) => Promise<void>, serve: Serve = hello, limits?: ListenerLimits) {
  const handlers = { dispatch: serve, own: serve };
  const listener = await listen({ at: { host: '127.0.0.1', port: 0 }, handlers, limits });
  try {
    await work(listener.url);
    const after = await exchangeRaw(listener.url, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    assert.is(after.status, 200, 'the node goes on');
  } finally {
    await listener.close(0);
  }
}

function assertProblem(response: RawResponse, status: number, code: string): void {
  assert.ok(Math.abs(Date.parse(header(response, 'date') ?? '') - Date.now()) < 60_000, 'it has a date');
  assert.is(response.status, status);
  assert.is(header(response, 'content-type'), 'application/problem+json');
  const body = JSON.parse(response.body.toString());
  assert.is(body.code, code);
  assert.is(body.status, status);
  assert.is(body.requestId, header(response, 'x-request-id'));
  assert.not.match(response.body.toString(), /\bat .*:\d+/);
}

const refusals: [string, string, number, string][] = [
  [
    'two Content-Lengths',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
    400,
    'BAD_REQUEST',
  ],
  [
    'the same Content-Length twice',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na',
    400,
    'BAD_REQUEST',
  ],
  ['a host with a port that is none', 'GET / HTTP/1.1\r\nhost: a:65536\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a list of Content-Lengths', 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\na', 400, 'BAD_REQUEST'],
  ['a signed Content-Length', 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na', 400, 'BAD_REQUEST'],
  [
    'Transfer-Encoding with Content-Length',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'BAD_REQUEST',
  ],
  [
    'Content-Length with Transfer-Encoding',
    'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n',
    400,
    'BAD_REQUEST',
  ],
  [
    'a Transfer-Encoding that does not end in chunked',
    'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n',
    400,
    'BAD_REQUEST',
  ],
  [
    'a coding before chunked',
    'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    501,
    'CODING_NOT_OFFERED',
  ],
  [
    'Transfer-Encoding in HTTP/1.0',
    'POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'BAD_REQUEST',
  ],
  ['a space before the colon', 'GET / HTTP/1.1\r\nhost: a\r\ncontent-length : 3\r\n\r\nabc', 400, 'BAD_REQUEST'],
  ['a space in a header name', 'GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a NUL in a header name', 'GET / HTTP/1.1\r\nhost: a\r\nx\0y: 1\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a NUL in a header value', 'GET / HTTP/1.1\r\nhost: a\r\nx: 1\0\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a bare CR in a header value', 'GET / HTTP/1.1\r\nhost: a\r\nx: 1\ry: 2\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a line that is no header', 'GET / HTTP/1.1\r\nhost: a\r\nnonsense\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a folded header', 'GET / HTTP/1.1\r\n x: 1\r\nhost: a\r\n\r\n', 400, 'BAD_REQUEST'],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'BAD_REQUEST'],
  ['two Hosts', 'GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a Host that is none', 'GET / HTTP/1.1\r\nhost: a/b\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a Host with user information', 'GET / HTTP/1.1\r\nhost: me@a\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a target with user information', 'GET http://me@a/ HTTP/1.1\r\nhost: a\r\n\r\n', 400, 'BAD_REQUEST'],
  ['an unknown protocol', 'GET / HTTX/1.1\r\nhost: a\r\n\r\n', 400, 'BAD_REQUEST'],
  ['HTTP/3.7', 'GET / HTTP/3.7\r\nhost: a\r\n\r\n', 400, 'BAD_REQUEST'],
  ['an unknown method', 'FETCHME / HTTP/1.1\r\nhost: a\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a target without a slash', 'GET index.html HTTP/1.1\r\nhost: a\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a space in the target', 'GET /a b HTTP/1.1\r\nhost: a\r\n\r\n', 400, 'BAD_REQUEST'],
  ['bytes of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'BAD_REQUEST'],
  ['CONNECT', 'CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n', 501, 'METHOD_NOT_OFFERED'],
  [
    'a head that is too large',
    `GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(40_000)}\r\n\r\n`,
    431,
    'HEADERS_TOO_LARGE',
  ],
  ['a target that is too large', `GET /${'x'.repeat(40_000)} HTTP/1.1\r\nhost: a\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
  ['too many headers', `GET / HTTP/1.1\r\nhost: a\r\n${'x: 1\r\n'.repeat(300)}\r\n`, 431, 'HEADERS_TOO_LARGE'],
];

for (const [what, request, status, code] of refusals) {
  test(`${what}: refused with ${status}, the connection closed, and nothing of it served`, () =>
    withListener(async (url) => {
      const connection = await RawConnection.open(url);
      // What follows must not be taken for a request of its own.
      await connection.write(`${request}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n`);
      assertProblem(await connection.response(), status, code);
      await connection.closed;
      assert.not.match(connection.rest, /HTTP\/1.1 200/);
      connection.destroy();
    }));
}

test('lines that end in a bare LF are refused or closed on, never served', () =>
  withListener(async (url) => {
    for (const request of [
      'GET / HTTP/1.1\nhost: a\n\n',
      'GET / HTTP/1.1\r\nhost: a\nx: 1\r\n\r\n',
      'GET / HTTP/1.1\r\nhost: a\r\n\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n',
    ]) {
      const connection = await RawConnection.open(url);
      await connection.write(request);
      assertProblem(await connection.response(), 400, 'BAD_REQUEST');
      await connection.closed;
      connection.destroy();
    }
  }));

test('bad framing of a chunked body breaks the request off', async () => {
  const errors: string[] = [];
  const serve: Serve = (exchange) => {
    if (!exchange.body) return hello(exchange);
    exchange.body.open({ chunk() {}, end: () => errors.push('end'), error: (reason) => errors.push(reason.message) });
  };
  await withListener(async (url) => {
    for (const body of [
      'zz\r\nabc\r\n',
      '3\r\nabcX',
      '3;\0\r\nabc\r\n',
      '-1\r\n\r\n',
      '3\nabc\n0\n\n',
      'ffffffffffffffffff\r\n',
    ]) {
      const connection = await RawConnection.open(url);
      await connection.write(`POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${body}`);
      assert.is((await connection.response()).status, 400, JSON.stringify(body));
      await connection.closed;
      connection.destroy();
    }
  }, serve);
  assert.not(errors.includes('end'), 'no workload took a broken body for whole');
  assert.is(errors.length, 6);
});

test('HTTP/1.0 is answered with and without Host, and the connection closed', () =>
  withListener(async (url) => {
    for (const request of ['GET / HTTP/1.0\r\n\r\n', 'GET / HTTP/1.0\r\nhost: a\r\n\r\n']) {
      const connection = await RawConnection.open(url);
      await connection.write(request);
      const response = await connection.response();
      assert.is(response.body.toString(), 'hello');
      assert.is(await connection.closed, 'ended');
      connection.destroy();
    }
  }));

test('pipelined requests are answered in order, also when a later one is ready first', async () => {
  let finishFirst = () => {};
  const serve: Serve = (exchange) => {
    const answer = () => exchange.reply.send(200, [], Buffer.from(exchange.path));
    if (exchange.path !== '/1') return answer();
    finishFirst = answer;
  };
  await withListener(async (url) => {
    const connection = await RawConnection.open(url);
    await connection.write([1, 2, 3].map((i) => `GET /${i} HTTP/1.1\r\nhost: a\r\n\r\n`).join(''));
    setImmediate(function wait() {
      if (finishFirst.name === 'answer') finishFirst();
      else setImmediate(wait);
    });
    for (const i of [1, 2, 3]) assert.is((await connection.response()).body.toString(), `/${i}`);
    connection.destroy();
  }, serve);
});

test('a pipelined request waits for the answer before it unless both are safe', async () => {
  for (const methods of [
    ['POST', 'GET'],
    ['GET', 'POST'],
    ['DELETE', 'PUT'],
  ]) {
    const events: string[] = [];
    const serve: Serve = (exchange) => {
      if (exchange.path === '/') return hello(exchange);
      events.push(`asked ${exchange.path}`);
      setTimeout(() => {
        events.push(`answered ${exchange.path}`);
        exchange.reply.send(200, [], Buffer.from(exchange.path));
      }, 20);
    };
    await withListener(async (url) => {
      const connection = await RawConnection.open(url);
      const bodies = methods.map((method, i) => `${method} /${i} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi`);
      await connection.write(bodies.join(''));
      for (const i of [0, 1]) assert.is((await connection.response()).body.toString(), `/${i}`);
      connection.destroy();
    }, serve);
    assert.equal(events, ['asked /0', 'answered /0', 'asked /1', 'answered /1'], methods.join(' '));
  }
});

test('a client that leaves aborts all that it asked for, pipelined requests too', async () => {
  const aborted: string[] = [];
  let tell = () => {};
  const all = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const serve: Serve = (exchange) => {
    if (exchange.path === '/') return hello(exchange);
    exchange.onAbort(() => {
      assert.ok(exchange.aborted);
      // A workload may be in the midst of its answer: that is no error, and it does not wait for room that never comes.
      exchange.reply.start(200, []);
      assert.is(exchange.reply.write(Buffer.alloc(1_000_000)), true);
      exchange.reply.end(null);
      aborted.push(exchange.path);
      if (aborted.length === 2) tell();
    });
    if (exchange.path === '/2') reached();
  };
  let reached = () => {};
  const second = new Promise<void>((resolve) => {
    reached = resolve;
  });
  await withListener(async (url) => {
    const connection = await RawConnection.open(url);
    await connection.write('GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n');
    await second;
    connection.destroy();
    await all;
    assert.equal(aborted.sort(), ['/1', '/2']);
  }, serve);
});

test('a client that sends its head too slowly, or nothing, is answered 408 or closed on', () =>
  withListener(
    async (url) => {
      const slow = await RawConnection.open(url);
      await slow.write('GET / HTTP/1.1\r\nhost: a\r\nx-slow');
      assertProblem(await slow.response(), 408, 'REQUEST_TIMEOUT');
      await slow.closed;
      const silent = await RawConnection.open(url);
      await silent.closed;
      slow.destroy();
      silent.destroy();
    },
    hello,
    { ...LISTENER_LIMITS, headTimeoutMs: 100 },
  ));

test('clients that were refused and hold on to their connection do not keep the node from stopping', async () => {
  const listener = await listen({ at: { host: '127.0.0.1', port: 0 }, handlers: { dispatch: hello, own: hello } });
  const held = await Promise.all(
    ['CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n', 'nonsense\r\n\r\n'].map(async (bytes) => {
      const connection = await RawConnection.open(listener.url);
      await connection.write(bytes);
      await connection.response();
      return connection;
    }),
  );
  await listener.close(0);
  for (const connection of held) connection.destroy();
});

test('a client that is reset while it is refused harms nothing', () =>
  withListener(async (url) => {
    for (const bytes of ['CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n', 'nonsense\r\n\r\n', 'GET / HTTP/1.1\r\n']) {
      for (let i = 0; i < 5; i++) {
        const connection = await RawConnection.open(url);
        await connection.write(bytes);
        connection.reset();
      }
    }
  }));

test('absolute-form wins over Host, as RFC 9112 (3.2.2) has it, and its own faults are refused', async () => {
  const seen: string[] = [];
  const serve: Serve = (exchange) => {
    seen.push(`${exchange.authority} ${exchange.path}`);
    hello(exchange);
  };
  await withListener(async (url) => {
    await exchangeRaw(url, 'GET http://b:81/x HTTP/1.1\r\nhost: a\r\n\r\n');
    for (const target of ['http://me@b/', 'http://b c/', 'ftp://b/', 'http:/b', '*', '//']) {
      const { status } = await exchangeRaw(url, `GET ${target} HTTP/1.1\r\nhost: a\r\n\r\n`);
      if (target !== '//') assert.is(status, 400, target);
    }
    assert.equal(seen, ['b:81 /x', 'a //']);
  }, serve);
});

test('a body that nobody reads keeps its connection while it is little, and loses it when it is much', () =>
  withListener(
    async (url) => {
      const connection = await RawConnection.open(url);
      const piece = 'x'.repeat(10_000);
      await connection.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${piece.length}\r\n\r\n`);
      assert.is((await connection.response()).status, 200);
      await connection.write(`${piece}POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n`);
      assert.is((await connection.response()).status, 200);
      for (let i = 0; i < 3; i++) await connection.write(`2710\r\n${piece}\r\n`);
      assert.is(await connection.closed, 'ended');
      connection.destroy();
      // What says beforehand that it is much is told so.
      const large = await RawConnection.open(url);
      await large.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20001\r\n\r\n');
      const response = await large.response();
      assert.is(response.status, 200);
      assert.is(header(response, 'connection'), 'close');
      await large.write(piece);
      await large.closed;
      large.destroy();
    },
    hello,
    { ...LISTENER_LIMITS, discardBytes: 20_000, lingerMs: 100 },
  ));

test('what follows a request that was refused on its connection is never served', async () => {
  const paths: string[] = [];
  const serve: Serve = (exchange) => {
    paths.push(exchange.path);
    hello(exchange);
  };
  await withListener(async (url) => {
    const connection = await RawConnection.open(url);
    await connection.write('GET / HTTP/1.1\r\nhost: a/b\r\n\r\n');
    assertProblem(await connection.response(), 400, 'BAD_REQUEST');
    await connection.write('GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n');
    await connection.closed;
    connection.destroy();
  }, serve);
  assert.equal(paths, ['/']);
});

test('more connections than allowed are closed as they come; those before go on', () =>
  withListener(
    async (url) => {
      const held = [await RawConnection.open(url), await RawConnection.open(url)];
      const ask = async (connection: RawConnection) => {
        await connection.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
        return connection.response();
      };
      for (const connection of held) assert.is((await ask(connection)).status, 200);
      const third = await RawConnection.open(url);
      await third.closed;
      for (const connection of held) {
        assert.is((await ask(connection)).status, 200);
        connection.destroy();
        await connection.closed;
      }
      third.destroy();
    },
    hello,
    { ...LISTENER_LIMITS, connections: 2 },
  ));

test('a connection is told to close after its most requests, and closed when nothing is asked for', () =>
  withListener(
    async (url) => {
      const connection = await RawConnection.open(url);
      for (let i = 1; i <= 3; i++) {
        await connection.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
        assert.is(header(await connection.response(), 'connection'), i < 3 ? 'keep-alive' : 'close');
      }
      await connection.closed;
      const idle = await RawConnection.open(url);
      await idle.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      await idle.response();
      await idle.closed;
      for (const each of [connection, idle]) each.destroy();
    },
    hello,
    { ...LISTENER_LIMITS, requestsPerConnection: 3, keepAliveMs: 50 },
  ));

test('a large answer to a client that takes nothing of it is given up, and its connection with it', async () => {
  let left = () => {};
  const gone = new Promise<void>((resolve) => {
    left = resolve;
  });
  const serve: Serve = (exchange) => {
    if (exchange.path === '/') return hello(exchange);
    exchange.onAbort(left);
    exchange.reply.send(200, [], Buffer.alloc(64 * 2 ** 20));
  };
  await withListener(
    async (url) => {
      const connection = await RawConnection.open(url);
      connection.pause();
      await connection.write('GET /large HTTP/1.1\r\nhost: a\r\n\r\n');
      await gone;
      connection.destroy();
    },
    serve,
    { ...LISTENER_LIMITS, stallMs: 50, minBytesPerSecond: 2 ** 30 },
  );
});

test('garbage of every kind leaves the node answering', () =>
  withListener(async (url) => {
    let seed = 7;
    const random = () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed / 2 ** 32;
    };
    for (let i = 0; i < 60; i++) {
      const connection = await RawConnection.open(url);
      const bytes = Buffer.from(Array.from({ length: 200 }, () => Math.floor(random() * 256)));
      const prefix = ['', 'GET / HTTP/1.1\r\n', 'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n'][
        i % 3
      ];
      await connection.write(Buffer.concat([Buffer.from(prefix!), bytes]));
      connection.destroy();
    }
  }));

test('a connection is kept open after an answer, and closed when the client asks for that', () =>
  withListener(async (url) => {
    const connection = await RawConnection.open(url);
    for (let i = 0; i < 3; i++) {
      await connection.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      assert.is((await connection.response()).status, 200);
    }
    await connection.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    assert.is(header(await connection.response(), 'connection'), 'close');
    assert.is(await connection.closed, 'ended');
    connection.destroy();
  }));

test.run();
