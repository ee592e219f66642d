/** What only HTTP/2 has: malformed frames and requests, floods, and limits of a connection. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GatewayExchange } from '../../gateway/exchange.ts';
import { LISTENER_LIMITS, type ListenerLimits } from '../../gateway/listener/limits.ts';
import { listen } from '../../gateway/listener/listen.ts';
import type { FlatHeaders } from '../../runtime/exchange.ts';
import { RateMeter } from '../../runtime/rate-meter.ts';
import { values } from '../support/protocols.ts';
import { exchangeRaw } from '../support/raw-http.ts';
import { CODE, FLAG, frame, GET, hpack, POST, PREFACE, RawHttp2, TYPE, uint32 } from '../support/raw-http2.ts';

type Serve = (exchange: GatewayExchange) => void;

const hello: Serve = ({ reply }) => reply.send(200, [], Buffer.from('hello'));

interface Scene {
  readonly url: string;
  readonly connection: RawHttp2;
  /** Requests that reached the dispatcher. */
  readonly served: GatewayExchange[];
}

async function withConnection(
  work: (scene: Scene) => Promise<void>,
  serve: Serve = hello,
  limits: Partial<ListenerLimits> = {},
): Promise<void> {
  const served: GatewayExchange[] = [];
  const dispatch = (exchange: GatewayExchange) => {
    served.push(exchange);
    serve(exchange);
  };
  const handlers = { dispatch, own: hello };
  const listener = await listen({
    at: { host: '127.0.0.1', port: 0 },
    handlers,
    limits: { ...LISTENER_LIMITS, ...limits },
  });
  const connection = await RawHttp2.open(listener.url);
  try {
    await work({ url: listener.url, connection, served });
    const after = await exchangeRaw(listener.url, 'GET /_skerry/healthz HTTP/1.1\r\nhost: a\r\n\r\n');
    assert.is(after.status, 200, 'the node goes on');
  } finally {
    connection.destroy();
    await listener.close(0);
  }
}

const without = (name: string, from: FlatHeaders = GET) => {
  const at = from.indexOf(name);
  return [...from.slice(0, at), ...from.slice(at + 2)];
};
const replaced = (name: string, value: string) =>
  GET.map((text, i) => (GET[i - 1] === name && i % 2 === 1 ? value : text));

/** Malformed (RFC 9113, 8.1.1): the stream is reset, and the connection goes on. */
const malformed: [string, FlatHeaders][] = [
  ['a header name in upper case', [...GET, 'X-Name', '1']],
  ['no :method', without(':method')],
  ['no :scheme', without(':scheme')],
  ['no :path', without(':path')],
  ['an empty :path', replaced(':path', '')],
  ['two :path', [...GET, ':path', '/']],
  ['an unknown pseudo-header', [...GET, ':smuggled', '1']],
  ['a pseudo-header of answers', [...GET, ':status', '200']],
  ['a pseudo-header after the others', [...without(':path'), 'x', '1', ':path', '/']],
  ['Connection', [...GET, 'connection', 'close']],
  ['Keep-Alive', [...GET, 'keep-alive', '5']],
  ['Proxy-Connection', [...GET, 'proxy-connection', 'x']],
  ['Upgrade', [...GET, 'upgrade', 'x']],
  ['Transfer-Encoding', [...GET, 'transfer-encoding', 'chunked']],
  ['a TE other than trailers', [...GET, 'te', 'gzip']],
  ['a Content-Length without a body', [...GET, 'content-length', '5']],
  ['two Content-Lengths', [...GET, 'content-length', '0', 'content-length', '0']],
  ['a Content-Length that is no number', [...GET, 'content-length', '+0']],
  ['a line break in the :path', replaced(':path', '/\r\nx')],
  ['a space in the :path', replaced(':path', '/a b')],
  ['a :path without a slash', replaced(':path', 'index.html')],
  ['a URL as :path', replaced(':path', 'http://b/')],
  ['neither :authority nor Host', without(':authority')],
  ['`*` as :path', replaced(':path', '*')],
  ['an empty :authority', replaced(':authority', '')],
  ['two Hosts', [...without(':authority'), 'host', 'a', 'host', 'b']],
  ['an :authority that is none', replaced(':authority', 'a/b')],
];

for (const [what, headers] of malformed) {
  test(`${what}: the stream is reset, and nothing of it served`, () =>
    withConnection(async ({ connection, served }) => {
      connection.headers(1, headers);
      assert.is(await connection.outcome(1), CODE.PROTOCOL_ERROR);
      connection.headers(3, GET);
      assert.is(await connection.outcome(3), 'hello', 'the connection goes on');
      assert.is(served.length, 1);
    }));
}

/** Well-formed, and refused by the gateway with a problem. */
const refused: [string, FlatHeaders, number, string][] = [
  ['user information in the :authority', replaced(':authority', 'me@a'), 400, 'BAD_REQUEST'],
  ['a Host that is not the :authority', [...GET, 'host', 'b'], 400, 'BAD_REQUEST'],
  ['an unknown method', replaced(':method', 'FETCHME'), 400, 'BAD_REQUEST'],
  ['CONNECT', [':method', 'CONNECT', ':authority', 'a:443'], 501, 'METHOD_NOT_OFFERED'],
  ['too many headers', [...GET, ...Array(201).fill(['x', '1']).flat()], 431, 'HEADERS_TOO_LARGE'],
];

for (const [what, headers, status, code] of refused) {
  test(`${what}: answered ${status}, and never served`, () =>
    withConnection(async ({ connection, served }) => {
      connection.headers(1, headers);
      const problem = JSON.parse(String(await connection.outcome(1)));
      assert.is(problem.status, status);
      assert.is(problem.code, code);
      assert.is(served.length, 0);
    }));
}

/** nghttp2 leaves such a field out, and Node is not told: what reaches the workload is the request without it. */
const dropped: [string, FlatHeaders][] = [
  ['a line break in a value', ['x', '1\r\ny: 2']],
  ['a NUL in a value', ['x', '1\0']],
  ['a line break in a name', ['x\r\ny', '1']],
  ['a space in a name', ['x y', '1']],
  ['an empty name', ['', '1']],
];

for (const [what, field] of dropped) {
  test(`${what}: the field never reaches a workload`, () =>
    withConnection(async ({ connection, served }) => {
      connection.headers(1, [...GET, 'x-before', '1', ...field, 'x-after', '2']);
      assert.is(await connection.outcome(1), 'hello');
      assert.equal(served[0]!.headers.slice(0, 4), ['x-before', '1', 'x-after', '2']);
    }));
}

test('the preface is known however it is cut, and what only looks like it is refused', () =>
  withConnection(async ({ url }) => {
    const cut = await RawHttp2.open(url, { preface: false });
    for (const byte of Buffer.concat([PREFACE, frame(TYPE.SETTINGS, 0, 0)])) {
      cut.write(Buffer.from([byte]));
      await cut.flushed();
    }
    cut.headers(1, GET);
    assert.is(await cut.outcome(1), 'hello');
    cut.destroy();
    for (const bytes of ['PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n', 'PRI / HTTP/1.1\r\nhost: a\r\n\r\n']) {
      assert.is((await exchangeRaw(url, bytes)).status, 400);
    }
  }));

test('a cookie that comes in crumbs reaches the workload as one, in its place', () =>
  withConnection(async ({ connection, served }) => {
    connection.headers(1, [
      ...GET,
      'x-before',
      '1',
      'cookie',
      'a=1',
      'x-between',
      '2',
      'cookie',
      'b=2',
      'cookie',
      'c=3',
    ]);
    await connection.outcome(1);
    assert.equal(served[0]!.headers.slice(0, 6), ['x-before', '1', 'cookie', 'a=1; b=2; c=3', 'x-between', '2']);
    connection.headers(3, [...without(':authority'), 'host', 'b']);
    await connection.outcome(3);
    assert.is(served[1]!.authority, 'b', 'Host stands in for :authority');
    assert.equal(values(served[1]!.headers, 'host'), []);
  }));

const reading: Serve = (exchange) => {
  if (!exchange.body) return hello(exchange);
  exchange.body.open({
    chunk() {},
    end: () => exchange.reply.send(200, [], Buffer.from('taken for whole')),
    error: () => {},
  });
};

test('a body that is not as long as its Content-Length is never taken for whole', () =>
  withConnection(async ({ connection }) => {
    const open = [...POST, 'content-length', '5'];
    connection.headers(1, open, FLAG.END_HEADERS);
    connection.write(frame(TYPE.DATA, FLAG.END_STREAM, 1, Buffer.from('four')));
    assert.is(await connection.outcome(1), CODE.PROTOCOL_ERROR);
    connection.headers(3, open, FLAG.END_HEADERS);
    connection.write(frame(TYPE.DATA, FLAG.END_STREAM, 3, Buffer.from('sixsix')));
    assert.is(await connection.outcome(3), CODE.PROTOCOL_ERROR);
  }, reading));

test('a request that comes in one piece is whole, also when its body is read late', async () => {
  const serve: Serve = (exchange) => {
    if (exchange.path === '/late') setTimeout(() => reading(exchange), 20);
    else reading(exchange);
  };
  await withConnection(async ({ connection }) => {
    for (const [stream, path] of [
      [1, '/'],
      [3, '/late'],
    ] as const) {
      const headers = POST.map((text) => (text === '/' ? path : text));
      connection.write(
        Buffer.concat([
          frame(TYPE.HEADERS, FLAG.END_HEADERS, stream, hpack(headers)),
          frame(TYPE.DATA, FLAG.END_STREAM, stream, Buffer.from('body')),
        ]),
      );
      assert.is(await connection.outcome(stream), 'taken for whole', path);
    }
  }, serve);
});

test('a request that its client resets after it was answered is not taken for whole either', async () => {
  const ends: string[] = [];
  const serve: Serve = (exchange) => {
    exchange.reply.send(200, [], Buffer.from('early'));
    exchange.body?.open({ chunk() {}, end: () => ends.push('end'), error: () => ends.push('error') });
  };
  await withConnection(async ({ connection }) => {
    for (const [stream, code] of [
      [1, CODE.NO_ERROR],
      [3, CODE.CANCEL],
    ] as const) {
      connection.headers(stream, POST, FLAG.END_HEADERS);
      connection.write(frame(TYPE.DATA, 0, stream, Buffer.from('half')));
      assert.is(await connection.outcome(stream), 'early');
      connection.write(frame(TYPE.RST_STREAM, 0, stream, uint32(code)));
    }
    while (ends.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ends, ['error', 'error']);
  }, serve);
});

test('a request that its client resets in the middle, even without an error, is never taken for whole', async () => {
  const ends: string[] = [];
  let tell = () => {};
  const told = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const serve: Serve = (exchange) => {
    const note = (how: string) => {
      ends.push(how);
      if (ends.length === 2) tell();
    };
    exchange.body?.open({ chunk() {}, end: () => note('end'), error: () => note('error') });
  };
  await withConnection(async ({ connection, served }) => {
    for (const [stream, code] of [
      [1, CODE.NO_ERROR],
      [3, CODE.CANCEL],
    ] as const) {
      connection.headers(stream, POST, FLAG.END_HEADERS);
      connection.write(frame(TYPE.DATA, 0, stream, Buffer.from('half')));
      while (served.length < (stream + 1) / 2) await new Promise((resolve) => setImmediate(resolve));
      connection.write(frame(TYPE.RST_STREAM, 0, stream, uint32(code)));
    }
    await told;
    assert.equal(ends, ['error', 'error']);
    assert.ok(served.every(({ aborted }) => aborted));
  }, serve);
});

test('more streams at once than allowed are refused, those before are served; a client that knows better is cut off', async () => {
  const held: GatewayExchange[] = [];
  const { http2 } = LISTENER_LIMITS;
  await withConnection(
    async ({ connection }) => {
      // It has not been told yet how many it may open.
      for (let i = 0; i < 6; i++) connection.headers(2 * i + 1, GET);
      assert.is(await connection.outcome(9), CODE.REFUSED_STREAM);
      assert.is(await connection.outcome(11), CODE.REFUSED_STREAM);
      for (const { reply } of held) reply.send(200, [], Buffer.from('held'));
      for (const stream of [1, 3, 5, 7]) assert.is(await connection.outcome(stream), 'held');
      for (let i = 6; i < 12; i++) connection.headers(2 * i + 1, GET);
      assert.is(await connection.goaway(), CODE.PROTOCOL_ERROR);
    },
    (exchange) => void held.push(exchange),
    { http2: { ...http2, streams: 4 } },
  );
});

test('an answer given before its request was read: the rest is thrown away, and cut off when it is much', () =>
  withConnection(
    async ({ connection }) => {
      const piece = Buffer.alloc(10_000);
      connection.headers(1, POST, FLAG.END_HEADERS);
      assert.is(await connection.outcome(1), 'hello');
      connection.write(frame(TYPE.DATA, FLAG.END_STREAM, 1, piece));
      connection.headers(3, POST, FLAG.END_HEADERS);
      assert.is(await connection.outcome(3), 'hello');
      for (let i = 0; i < 3; i++) connection.write(frame(TYPE.DATA, 0, 3, piece));
      const reset = await connection.until(({ type, stream }) => type === TYPE.RST_STREAM && stream === 3);
      assert.is(reset.payload.readUInt32BE(), CODE.NO_ERROR);
      connection.headers(5, GET);
      assert.is(await connection.outcome(5), 'hello');
      assert.not(connection.frames.some(({ type, stream }) => type === TYPE.RST_STREAM && stream === 1));
    },
    hello,
    { discardBytes: 20_000 },
  ));

test('a connection without a request is told to go, and closed', () =>
  withConnection(
    async ({ connection }) => {
      connection.headers(1, GET);
      assert.is(await connection.outcome(1), 'hello');
      assert.is(await connection.goaway(), CODE.NO_ERROR);
      await connection.closed;
    },
    hello,
    { keepAliveMs: 50 },
  ));

test('what a client did wrong with the connection is told with its own code', () =>
  withConnection(async ({ connection }) => {
    connection.write(frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1)));
    assert.is(await connection.goaway(), CODE.FLOW_CONTROL_ERROR);
    await connection.closed;
  }));

/** A flood: `once` is sent over and over until the node has had enough. */
const floods: [string, (stream: number) => Buffer, boolean][] = [
  [
    'rapid resets',
    (stream) =>
      Buffer.concat([
        frame(TYPE.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, stream, hpack(GET)),
        frame(TYPE.RST_STREAM, 0, stream, uint32(CODE.CANCEL)),
      ]),
    true,
  ],
  [
    'streams that the node is made to reset',
    (stream) =>
      Buffer.concat([
        frame(TYPE.HEADERS, FLAG.END_HEADERS, stream, hpack([...POST, 'content-length', '5'])),
        frame(TYPE.DATA, FLAG.END_STREAM, stream, Buffer.from('four')),
      ]),
    false,
  ],
  ['PING', () => frame(TYPE.PING, 0, 0, Buffer.alloc(8)), true],
  ['SETTINGS', () => frame(TYPE.SETTINGS, 0, 0), true],
  ['malformed requests', (stream) => frame(TYPE.HEADERS, 5, stream, hpack(without(':path'))), false],
  ['empty CONTINUATION frames', (stream) => frame(stream === 1 ? TYPE.HEADERS : TYPE.CONTINUATION, 0, 1), false],
  [
    'CONTINUATION frames that never end',
    (stream) => frame(stream === 1 ? TYPE.HEADERS : TYPE.CONTINUATION, 0, 1, hpack(['x', 'x'.repeat(10_000)])),
    false,
  ],
  [
    'empty DATA frames',
    (stream) => (stream === 1 ? frame(TYPE.HEADERS, FLAG.END_HEADERS, 1, hpack(POST)) : frame(TYPE.DATA, 0, 1)),
    false,
  ],
];

for (const [what, once, calm] of floods) {
  test(`a flood of ${what} ends its connection, and costs the others nothing`, () =>
    withConnection(
      async ({ url, connection, served }) => {
        let over = false;
        void connection.closed.then(() => {
          over = true;
        });
        for (let i = 0; i < 5000 && !over; i++) {
          connection.write(once(2 * i + 1));
          if (i % 100 === 0) await connection.flushed();
        }
        await connection.closed;
        assert.ok(
          served.length <= LISTENER_LIMITS.http2.resets.burst + 1,
          `${served.length} requests reached a workload`,
        );
        if (calm) {
          const codes = connection.frames
            .filter(({ type }) => type === TYPE.GOAWAY)
            .map((each) => each.payload.readUInt32BE(4));
          assert.equal([...new Set(codes)], [CODE.ENHANCE_YOUR_CALM]);
        }
        const other = await RawHttp2.open(url);
        other.headers(1, GET);
        assert.is(await other.outcome(1), 'hello');
        other.destroy();
      },
      (exchange) => (exchange.method === 'POST' ? undefined : hello(exchange)),
    ));
}

test('a rate allows its burst at once, and then no more than its share', () => {
  const meter = new RateMeter({ burst: 3, perSecond: 0 });
  assert.equal(
    [1, 2, 3, 4, 5].map(() => meter.take()),
    [true, true, true, false, false],
  );
});

test.run();
