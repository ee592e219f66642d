import { createServer, type RequestListener } from 'node:http';
import { Readable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EgressClient } from '../../../runtime/egress/egress.ts';
import { EGRESS_LIMITS } from '../../../runtime/egress/limits.ts';
import { egressClient, type Failed, listen, type Sent, send, soon } from '../../support/egress.ts';
import { makeExchange } from '../../support/exchange.ts';

interface Context {
  client: EgressClient;
  url: string;
  serve: RequestListener;
  connections: () => number;
  close(): void;
}

const limits = suite<Context>('limits');

limits.before.each(async (context) => {
  const server = createServer((request, response) => context.serve(request, response));
  let connections = 0;
  server.on('connection', () => connections++);
  context.connections = () => connections;
  const port = await listen(server);
  context.url = `http://127.0.0.1:${port}`;
  context.client = egressClient({ allow: [`127.0.0.1:${port}`] });
  context.serve = (_request, response) => response.end('ok');
  context.close = () => {
    server.closeAllConnections();
    server.close();
  };
});
limits.after.each(async ({ client, close }) => {
  await client.close();
  close();
});

const kindOf = ({ answer }: Sent) =>
  answer.then(
    () => 'answer',
    (error: Failed) => error.kind,
  );

limits('an exchange has a number of requests; the next exchange has its own', async ({ client, url }) => {
  const session = client.open(soon());
  for (let i = 0; i < EGRESS_LIMITS.requestsPerExchange; i++) assert.is(await kindOf(send(session, url)), 'answer');
  assert.is(await kindOf(send(session, url)), 'connection-limit-reached');
  assert.is(await kindOf(send(client.open(soon()), url)), 'answer');
});

limits('an exchange has so many at once; one that ends makes room', async (context) => {
  const held: Parameters<RequestListener>[1][] = [];
  context.serve = (_request, response) => void held.push(response);
  const session = context.client.open(soon());
  const running = Array.from({ length: EGRESS_LIMITS.concurrentPerExchange }, () => send(session, context.url));
  assert.is(await kindOf(send(session, context.url)), 'connection-limit-reached');
  running[0]?.call.cancel();
  const fits = send(session, context.url);
  while (held.length < EGRESS_LIMITS.concurrentPerExchange) await new Promise(setImmediate);
  context.serve = (_request, response) => response.end();
  for (const response of held) response.end();
  assert.is(await kindOf(fits), 'answer');
  session.close();
});

limits('a function has so many at once, over all its exchanges', async (context) => {
  context.serve = () => {};
  const { concurrentPerExchange, concurrentPerFunction } = EGRESS_LIMITS;
  const sessions = Array.from({ length: concurrentPerFunction / concurrentPerExchange }, () => {
    const session = context.client.open(soon());
    for (let i = 0; i < concurrentPerExchange; i++) send(session, context.url);
    return session;
  });
  const other = context.client.open(soon());
  assert.is(await kindOf(send(other, context.url)), 'connection-limit-reached');
  sessions[0]?.close();
  const again = send(other, context.url);
  await new Promise(setImmediate);
  again.call.cancel();
  assert.ok(context.connections() <= EGRESS_LIMITS.connectionsPerOrigin, `${context.connections()} connections`);
});

/** Pieces of 1 MiB, `count` of them. */
function* mebibytes(count: number) {
  const piece = Buffer.alloc(2 ** 20);
  for (let i = 0; i < count; i++) yield piece;
}

limits('the bodies of an exchange are bounded, each way', async (context) => {
  const most = EGRESS_LIMITS.responseBytesPerExchange / 2 ** 20;
  context.serve = (request, response) => {
    request.resume();
    if (request.method === 'POST') return request.on('end', () => response.end());
    Readable.from(mebibytes(most + 8)).pipe(response);
  };
  const down = send(context.client.open(performance.now() + 60_000), context.url);
  assert.is(await kindOf(down), 'HTTP-response-body-size');
  assert.ok(down.received() <= EGRESS_LIMITS.responseBytesPerExchange);
  const upload = makeExchange({ body: mebibytes(most + 8) });
  const up = send(context.client.open(performance.now() + 60_000), context.url, { body: upload.exchange.body });
  assert.is(await kindOf(up), 'HTTP-request-body-size');
});

limits('10,000 requests over few connections, none lost or mixed up', async (context) => {
  context.serve = (request, response) => response.end(request.url);
  const { client, url } = context;
  let next = 0;
  const lane = async () => {
    for (let session = client.open(soon()), used = 0; next < 10_000; used++) {
      if (used === EGRESS_LIMITS.requestsPerExchange) {
        session.close();
        session = client.open(soon());
        used = 0;
      }
      const target = `/${next++}`;
      const { status, body } = await send(session, url + target).answer;
      assert.equal([status, body.toString()], [200, target]);
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  console.log(`10,000 requests over ${context.connections()} connections`);
  assert.ok(context.connections() <= EGRESS_LIMITS.connectionsPerOrigin, `${context.connections()} connections`);
});

limits.run();
