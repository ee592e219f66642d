/** The gateway in front of a process that speaks HTTP/1.1: what passes, and what is told when it misbehaves. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server as NetServer,
  type Socket,
} from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Upstream } from '../../../runtime/proxy/upstream.ts';
import type { WorkloadSettings } from '../../../runtime/workload/settings.ts';
import { type ControlPlane, withPlane } from '../../support/control-plane.ts';
import { RawConnection } from '../../support/raw-http.ts';

interface Scene {
  readonly plane: ControlPlane;
  readonly url: string;
  /** Connections that the process has seen. */
  readonly connections: () => number;
}

/** A node whose workload `w` is the process behind `server`. */
async function behind(
  server: Server | NetServer,
  work: (scene: Scene) => Promise<void>,
  settings: WorkloadSettings = {},
) {
  let connections = 0;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await through(port, ({ plane, url }) => work({ plane, url, connections: () => connections }), settings).finally(
    () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  );
}

async function through(
  port: number,
  work: (scene: Omit<Scene, 'connections'>) => Promise<void>,
  settings: WorkloadSettings = {},
): Promise<void> {
  const upstream = await Upstream.open({
    name: 'w',
    connections: 64,
    connect: () =>
      new Promise((resolve, reject) => {
        const socket = connect(port, '127.0.0.1');
        socket.once('connect', () => resolve(socket)).once('error', reject);
      }),
  });
  await withPlane(async (plane) => {
    await plane.settledDeploy('w', 'w', settings, (exchange) => upstream.handle(exchange));
    await work({ plane, url: plane.url });
  }).finally(() => upstream.close());
}

const http = (listener: RequestListener) => createServer(listener);
/** A process that answers each connection's first bytes with these. */
const raw = (answer: string | ((socket: Socket) => void)) =>
  createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => (typeof answer === 'string' ? socket.end(answer) : answer(socket)));
  });

interface Got {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: string[];
  readonly body: Buffer;
  readonly trailers: IncomingMessage['trailers'];
}

function ask(
  url: string,
  options: {
    method?: string;
    path?: string;
    headers?: Record<string, string | string[]>;
    body?: Readable | string;
  } = {},
): Promise<Got> {
  const { method = 'GET', path = '/w/', headers = {}, body } = options;
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, url), { method, headers, agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode, headers, rawHeaders, trailers } = response;
        resolve({ status: statusCode as number, headers, rawHeaders, body: Buffer.concat(pieces), trailers });
      });
    });
    asked.on('error', reject);
    if (body instanceof Readable) body.pipe(asked);
    else asked.end(body);
  });
}

const codeOf = (got: Got) => JSON.parse(got.body.toString()).code;

test('method, path, query, headers and body reach the process; status, headers and body come back', () =>
  behind(
    http(async (incoming, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of incoming) pieces.push(piece);
      const { method, url, headers } = incoming;
      response.writeHead(201, ['Set-Cookie', 'a=1', 'set-cookie', 'b=2', 'X-Hop', '1', 'Connection', 'x-hop']);
      response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(pieces).toString() }));
    }),
    async ({ url }) => {
      const got = await ask(url, {
        method: 'PUT',
        path: '/w/a%2Fb?c=d&&',
        headers: { 'x-one': '1', host: 'Some.Host:81' },
        body: 'hello',
      });
      assert.is(got.status, 201);
      assert.equal(got.headers['set-cookie'], ['a=1', 'b=2']);
      assert.is(got.headers['x-hop'], undefined);
      const seen = JSON.parse(got.body.toString());
      assert.is(seen.method, 'PUT');
      assert.is(seen.url, '/a%2Fb?c=d&&');
      assert.is(seen.body, 'hello');
      assert.is(seen.headers.host, 'Some.Host:81');
      assert.is(seen.headers['x-one'], '1');
      assert.is(seen.headers['x-forwarded-prefix'], '/w');
      assert.is(seen.headers['x-request-id'], got.headers['x-request-id']);
    },
  ));

test('bodies stream both ways, and trailers pass', () =>
  behind(
    http((incoming, response) => {
      response.writeHead(200, { trailer: 'x-sum' });
      incoming.on('data', (piece: Buffer) => response.write(piece));
      incoming.on('end', () => {
        response.addTrailers({ 'x-sum': '1' });
        response.end();
      });
    }),
    async ({ url }) => {
      let give = (_piece: string | null) => {};
      const body = new Readable({ read() {} });
      give = (piece) => body.push(piece);
      const asked = request(new URL('/w/', url), { method: 'POST', agent: false });
      body.pipe(asked);
      give('one');
      const response = await new Promise<IncomingMessage>((resolve) => asked.on('response', resolve));
      const next = () => new Promise<string>((resolve) => response.once('data', (piece) => resolve(String(piece))));
      assert.is(await next(), 'one');
      const second = next();
      give('two');
      assert.is(await second, 'two', 'before the request was at its end');
      give(null);
      await new Promise((resolve) => response.on('end', resolve).resume());
      assert.is(response.trailers['x-sum'], '1');
    },
  ));

test('a large body passes both ways in bounded memory, held back by whoever is slow', () => {
  const PIECES = 1024;
  const piece = Buffer.alloc(64 * 1024, 'x');
  return behind(
    http((incoming, response) => {
      response.writeHead(200);
      incoming.pipe(response);
    }),
    async ({ url }) => {
      let given = 0;
      const body = new Readable({
        read() {
          this.push(given++ < PIECES ? piece : null);
        },
      });
      const asked = request(new URL('/w/', url), { method: 'POST', agent: false });
      body.pipe(asked);
      const response = await new Promise<IncomingMessage>((resolve) => asked.on('response', resolve));
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.ok(given < PIECES / 2, `${given} pieces were taken for a client that reads none`);
      let received = 0;
      for await (const each of response) received += each.length;
      assert.is(received, PIECES * piece.length);
    },
  );
});

test('HEAD, 204 and 304 have no body, and their connection is used again', () =>
  behind(
    http((incoming, response) => {
      const status = Number(incoming.url!.slice(1)) || 200;
      response.writeHead(status, status === 200 ? { 'content-length': '5' } : {});
      response.end(status === 200 ? 'hello' : undefined);
    }),
    async ({ url, connections }) => {
      const head = await ask(url, { method: 'HEAD' });
      assert.equal([head.status, head.headers['content-length'], head.body.length], [200, '5', 0]);
      for (const status of [204, 304]) {
        const got = await ask(url, { path: `/w/${status}` });
        assert.equal([got.status, got.body.length], [status, 0]);
      }
      assert.is((await ask(url)).body.toString(), 'hello');
      // undici closes one after HEAD, since some servers send a body to it.
      assert.is(connections(), 2);
    },
  ));

test('103 reaches the client before the answer', () =>
  behind(
    http((_incoming, response) => {
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      response.end('ok');
    }),
    async ({ url }) => {
      const asked = request(new URL('/w/', url), { agent: false });
      const hint = new Promise<number>((resolve) => asked.on('information', ({ statusCode }) => resolve(statusCode)));
      asked.end();
      assert.is(await hint, 103);
    },
  ));

const broken: [string, NetServer, string][] = [
  ['closes without a word', raw((socket) => socket.destroy()), 'UPSTREAM_BROKE_OFF'],
  ['closes in the midst of its head', raw('HTTP/1.1 200 OK\r\ncontent-'), 'UPSTREAM_BROKE_OFF'],
  ['closes in the midst of a short body', raw('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab'), 'UPSTREAM_BROKE_OFF'],
  ['speaks another protocol', raw('SSH-2.0-OpenSSH_9.2\r\n'), 'UPSTREAM_BAD_ANSWER'],
  [
    'says two lengths',
    raw('HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'),
    'UPSTREAM_BAD_ANSWER',
  ],
  ['sends a head without end', raw(`HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(100_000)}`), 'UPSTREAM_BAD_ANSWER'],
  ['has an impossible status', raw('HTTP/1.1 99999 OK\r\n\r\n'), 'UPSTREAM_BAD_ANSWER'],
];
for (const [what, server, code] of broken) {
  test(`a process that ${what} is answered for with 502 and ${code}, and asked once`, () => {
    let asked = 0;
    server.on('connection', (socket) => socket.once('data', () => asked++));
    return behind(server, async ({ url }) => {
      const got = await ask(url);
      assert.is(got.status, 502);
      assert.is(codeOf(got), code);
      assert.is(asked, 1);
    });
  });
}

test('a process that breaks off after its first byte breaks the transfer', () =>
  behind(
    http((_incoming, response: ServerResponse) => {
      response.writeHead(200);
      response.write('half');
      setTimeout(() => response.destroy(), 20);
    }),
    async ({ url }) => {
      const whole = await ask(url).then(
        () => true,
        () => false,
      );
      assert.not(whole, 'taken for whole');
    },
  ));

test('a port that nobody listens at is 502; one that is about to be listened at is waited for', async () => {
  const server = http((_incoming, response) => response.end('up'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  await through(port, async ({ url }) => {
    const got = await ask(url);
    assert.is(got.status, 502);
    assert.is(codeOf(got), 'UPSTREAM_REFUSED');
    const waiting = ask(url);
    setTimeout(() => server.listen(port, '127.0.0.1'), 50);
    assert.is((await waiting).body.toString(), 'up');
  });
  server.closeAllConnections();
  server.close();
});

test('a process that does not answer is 504 at the deadline, and its request is given up', async () => {
  let gone = () => {};
  const left = new Promise<void>((resolve) => {
    gone = resolve;
  });
  await behind(
    http((incoming) => incoming.on('close', gone)),
    async ({ url }) => {
      const got = await ask(url);
      assert.is(got.status, 504);
      assert.is(codeOf(got), 'UPSTREAM_DEADLINE');
      await left;
    },
    { timeout: '100ms' },
  );
});

test('a client that leaves takes its request back from the process', async () => {
  let reached = () => {};
  const asked = new Promise<void>((resolve) => {
    reached = resolve;
  });
  let gone = () => {};
  const left = new Promise<void>((resolve) => {
    gone = resolve;
  });
  await behind(
    http((incoming) => {
      incoming.on('close', gone);
      reached();
    }),
    async ({ url, plane }) => {
      const connection = await RawConnection.open(url);
      await connection.write('GET /w/ HTTP/1.1\r\nhost: a\r\n\r\n');
      await asked;
      connection.destroy();
      await left;
      await plane.driver.until(() => plane.outcomes.length === 1);
      assert.is(plane.outcomes[0]!.error, null);
    },
  );
});

const UPGRADE =
  'GET /w/chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\n';

/** A process that takes upgrades and then says everything back. */
function echoing(seen: IncomingMessage[] = []): Server {
  const server = http((_incoming, response) => response.end('plain'));
  server.on('upgrade', async (incoming, socket, head) => {
    seen.push(incoming);
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.on('error', () => {});
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: xyz\r\n\r\nhello',
    );
    socket.write(head);
    socket.pipe(socket);
  });
  return server;
}

test('a WebSocket goes through, past the time limit of a request, until either side closes it', () => {
  const seen: IncomingMessage[] = [];
  return behind(
    echoing(seen),
    async ({ url, plane }) => {
      const connection = await RawConnection.open(url);
      await connection.write(`${UPGRADE}`);
      await connection.until('hello');
      assert.is(seen[0]!.url, '/chat');
      assert.is(seen[0]!.headers['sec-websocket-key'], 'abc');
      await new Promise((resolve) => setTimeout(resolve, 400));
      await connection.write('after the time limit');
      await connection.until('after the time limit');
      assert.is(plane.driver.instances[0]!.inFlight, 1, 'it holds its place');
      connection.destroy();
      await plane.driver.until(() => plane.driver.instances[0]!.inFlight === 0);
      assert.is(plane.outcomes[0]!.error, null);
    },
    { timeout: '200ms' },
  );
});

test("the head of a WebSocket is the process's own, and what is sent ahead arrives", () =>
  behind(echoing(), async ({ url }) => {
    const connection = await RawConnection.open(url);
    await connection.write(UPGRADE);
    // Before it was answered, though not in one piece with the request.
    await new Promise((resolve) => setTimeout(resolve, 10));
    await connection.write('sent ahead');
    await connection.until('sent ahead');
    const text = connection.text;
    assert.match(text, /^HTTP\/1\.1 101 /);
    assert.match(text, /sec-websocket-accept: xyz/i);
    connection.destroy();
  }));

test('a process that takes no upgrade answers as always, and the connection goes on', () =>
  behind(
    http((_incoming, response) => response.end('plain')),
    async ({ url }) => {
      const connection = await RawConnection.open(url);
      await connection.write(UPGRADE);
      assert.is((await connection.response()).body.toString(), 'plain');
      await connection.write('GET /w/ HTTP/1.1\r\nhost: a\r\n\r\n');
      assert.is((await connection.response()).body.toString(), 'plain');
      connection.destroy();
    },
  ));

test('a node that stops ends WebSockets too', () =>
  behind(echoing(), async ({ url, plane }) => {
    const connection = await RawConnection.open(url);
    await connection.write(UPGRADE);
    await connection.until('hello');
    await plane.stopListening(50);
    await connection.closed;
  }));

test.run();
