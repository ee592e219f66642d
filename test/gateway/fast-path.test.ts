/** A connection of HTTP/1.1 goes from the fast path to Node's parser, and nothing is lost or served twice on the way. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GatewayExchange } from '../../gateway/exchange.ts';
import { LISTENER_LIMITS, type ListenerLimits } from '../../gateway/listener/limits.ts';
import { listen } from '../../gateway/listener/listen.ts';
import { header, RawConnection } from '../support/raw-http.ts';

type Serve = (exchange: GatewayExchange) => void;

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`;
const echo: Serve = ({ path, reply }) => reply.send(200, [], Buffer.from(path));

async function onConnection(
  serve: Serve,
  work: (connection: RawConnection, url: string) => Promise<void>,
  limits: Partial<ListenerLimits> = {},
): Promise<void> {
  const handlers = { dispatch: serve, own: serve };
  const listener = await listen({
    at: { host: '127.0.0.1', port: 0 },
    handlers,
    limits: { ...LISTENER_LIMITS, ...limits },
  });
  const connection = await RawConnection.open(listener.url);
  try {
    await work(connection, listener.url);
  } finally {
    connection.destroy();
    await listener.close(0);
  }
}

const bodyOf = async (connection: RawConnection) => (await connection.response()).body.toString();

test('requests simple and not, whole and in pieces, are answered in turn on one connection', () =>
  onConnection(
    async (exchange) => {
      exchange.body?.open({ chunk: () => {}, end: () => {}, error: () => {} });
      echo(exchange);
    },
    async (connection) => {
      for (const path of ['/1', '/2']) {
        await connection.write(get(path));
        assert.is(await bodyOf(connection), path);
      }
      await connection.write('POST /3 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc');
      assert.is(await bodyOf(connection), '/3');
      await connection.write(get('/4'));
      assert.is(await bodyOf(connection), '/4');
      await connection.write(get('/5').slice(0, 20));
      await new Promise((resolve) => setTimeout(resolve, 20));
      await connection.write(get('/5').slice(20));
      assert.is(await bodyOf(connection), '/5');
      await connection.write(`${get('/6')}${get('/7')}`);
      for (const path of ['/6', '/7']) assert.is(await bodyOf(connection), path);
    },
  ));

/** A workload that answers `/held` when it is told to, and everything else at once. */
function holding() {
  const reached: GatewayExchange[] = [];
  let tell = () => {};
  const serve: Serve = (exchange) => {
    if (exchange.path !== '/held') return echo(exchange);
    reached.push(exchange);
    tell();
  };
  const held = async () => {
    if (reached.length === 0) await new Promise<void>((resolve) => (tell = resolve));
    return reached[0] as GatewayExchange;
  };
  return { serve, held };
}

const MANY = 2000;
const early: [string, string, string, number][] = [
  ['another request', get('/2'), '', 1],
  ['half of one', get('/2').slice(0, 9), get('/2').slice(9), 1],
  ['many, more than is kept for it', get('/2').repeat(MANY), '', MANY],
];
for (const [what, first, rest, answers] of early) {
  test(`what a client sends before it was answered waits its turn: ${what}`, async () => {
    const { serve, held } = holding();
    await onConnection(serve, async (connection) => {
      await connection.write(get('/held'));
      const exchange = await held();
      const written = connection.write(first);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.is(exchange.aborted, false);
      echo(exchange);
      assert.is(await bodyOf(connection), '/held');
      await written;
      await connection.write(rest);
      for (let i = 0; i < answers; i++) assert.is(await bodyOf(connection), '/2');
    });
  });
}

test('a client that asks for very much at once is answered all of it, in order', () =>
  onConnection(echo, async (connection) => {
    const count = 3000;
    const written = connection.write(Array.from({ length: count }, (_, i) => get(`/${i}`)).join(''));
    for (let i = 0; i < count; i++) assert.is(await bodyOf(connection), `/${i}`);
    await written;
  }));

test('what stands behind a request that offers another protocol is not waited for: its connection closes', () =>
  onConnection(echo, async (connection) => {
    await connection.write(`GET /1 HTTP/1.1\r\nhost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n${get('/2')}`);
    const first = await connection.response();
    assert.is(first.body.toString(), '/1');
    assert.is(header(first, 'connection'), 'close');
    assert.is(await connection.closed, 'ended');
  }));

test('a client that leaves, or closes its side, before it was answered ends the work', async () => {
  for (const leave of ['destroy', 'end'] as const) {
    const { serve, held } = holding();
    await onConnection(serve, async (connection) => {
      await connection.write(get('/held'));
      const exchange = await held();
      const aborted = new Promise<void>((resolve) => exchange.onAbort(resolve));
      connection[leave]();
      await aborted;
      // To answer all the same harms nothing.
      exchange.reply.send(200, [], Buffer.from('late'));
    });
  }
});

test('a client that closes its side after its answer is closed on', () =>
  onConnection(echo, async (connection) => {
    await connection.write(get('/1'));
    assert.is(await bodyOf(connection), '/1');
    connection.end();
    assert.is(await connection.closed, 'ended');
  }));

test('a body that is not as long as it was said to be breaks the connection', async () => {
  for (const pieces of [['ab'], ['ab', 'cd']]) {
    const serve: Serve = ({ reply }) => {
      reply.start(200, ['content-length', '3']);
      for (const piece of pieces) reply.write(Buffer.from(piece));
      reply.end(null);
    };
    await onConnection(serve, async (connection) => {
      await connection.write(get('/'));
      await connection.closed;
      const response = await connection.response().catch(() => null);
      assert.not.ok(response?.complete, 'taken for whole');
    });
  }
});

test('requests are counted across the two: the last is told so, and no other is served after it', () =>
  onConnection(
    echo,
    async (connection) => {
      await connection.write(get('/1'));
      assert.is(header(await connection.response(), 'connection'), 'keep-alive');
      await connection.write('GET /2 HTTP/1.1\r\nhost: a\r\nTE: trailers\r\n\r\n');
      assert.is(header(await connection.response(), 'connection'), 'keep-alive');
      await connection.write(get('/3'));
      assert.is(header(await connection.response(), 'connection'), 'close');
      assert.is(await connection.closed, 'ended');
    },
    { requestsPerConnection: 3 },
  ));

test('a connection that asks for nothing more is closed; one that waits for its answer is not', async () => {
  const { serve, held } = holding();
  await onConnection(
    serve,
    async (connection, url) => {
      const waiting = await RawConnection.open(url);
      await waiting.write(get('/held'));
      const exchange = await held();
      await connection.write(get('/1'));
      assert.is(await bodyOf(connection), '/1');
      await connection.closed;
      assert.is(exchange.aborted, false);
      echo(exchange);
      assert.is(await bodyOf(waiting), '/held');
      waiting.destroy();
    },
    { keepAliveMs: 100 },
  );
});

test('a listener that closes waits for answers, and closes what is idle', async () => {
  const { serve, held } = holding();
  const listener = await listen({ at: { host: '127.0.0.1', port: 0 }, handlers: { dispatch: serve, own: serve } });
  const idle = await RawConnection.open(listener.url);
  await idle.write(get('/1'));
  assert.is(await bodyOf(idle), '/1');
  const busy = await RawConnection.open(listener.url);
  await busy.write(get('/held'));
  const exchange = await held();
  const closed = listener.close(10_000);
  await idle.closed;
  assert.is(exchange.aborted, false);
  echo(exchange);
  const last = await busy.response();
  assert.is(last.body.toString(), '/held');
  assert.is(header(last, 'connection'), 'close');
  assert.is(await busy.closed, 'ended');
  await closed;
  idle.destroy();
  busy.destroy();
});

test('a header that no message may have is refused, and the connection goes on', () =>
  onConnection(
    (exchange) => {
      assert.throws(() => exchange.reply.send(200, ['x', 'a\r\nb: c'], null));
      assert.throws(() => exchange.reply.start(200, ['x y', 'a']));
      assert.is(exchange.reply.started, false);
      echo(exchange);
    },
    async (connection) => {
      for (const path of ['/1', '/2']) {
        await connection.write(get(path));
        assert.is(await bodyOf(connection), path);
      }
    },
  ));

test.run();
