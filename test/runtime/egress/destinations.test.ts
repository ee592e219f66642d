import { createServer } from 'node:http';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openEgressClient } from '../../../runtime/egress/client.ts';
import { resolveHere } from '../../../runtime/egress/resolver.ts';
import { systemTrust } from '../../../runtime/egress/trust.ts';
import { egressClient, type Failed, fakeResolver, listen, send, soon } from '../../support/egress.ts';

/** A server on 127.0.0.1, and on the same port another one on 127.0.0.2: each says its address. */
const destinations = suite<{ port: number; hits: string[] }>('destinations');

const closers: (() => void)[] = [];

destinations.before(async (context) => {
  context.hits = [];
  const serve = (host: string) =>
    createServer((request, response) => {
      context.hits.push(`${host} ${request.headers.host}`);
      response.setHeader('connection', 'close');
      response.end(host);
    });
  const [first, second] = [serve('127.0.0.1'), serve('127.0.0.2')];
  context.port = await listen(first);
  await new Promise<void>((resolve) => second.listen(context.port, '127.0.0.2', resolve));
  for (const server of [first, second]) closers.push(() => server.close());
});
destinations.before.each((context) => {
  context.hits.length = 0;
});
destinations.after(() => {
  for (const close of closers) close();
});

/** How one request ends: the body of the answer, or the kind of the failure. */
async function outcome(
  url: string,
  allow: string[],
  names: Record<string, string[][]> = {},
): Promise<{ said: string; detail: string }> {
  const client = egressClient({ allow, names });
  try {
    const { body } = await send(client.open(soon()), url).answer;
    return { said: body.toString(), detail: '' };
  } catch (error) {
    return { said: (error as Failed).kind, detail: (error as Failed).message };
  } finally {
    await client.close();
  }
}

destinations('what is not on the list is denied, without a question to the resolver', async ({ port, hits }) => {
  const { asked, resolve } = fakeResolver({ 'evil.test': [['127.0.0.1']] });
  const client = openEgressClient({ allow: ['127.0.0.1:1'], resolve, trust: systemTrust({}) });
  for (const host of ['evil.test', '127.0.0.1', 'localhost', '[::1]']) {
    const failed = (await send(client.open(soon()), `http://${host}:${port}/`).answer.catch(
      (error) => error,
    )) as Failed;
    assert.is(failed.kind, 'HTTP-request-denied', host);
  }
  await client.close();
  assert.equal([asked, hits], [[], []]);
});

destinations('an allowed address is reached, on its port only', async ({ port }) => {
  assert.is((await outcome(`http://127.0.0.1:${port}/`, [`127.0.0.1:${port}`])).said, '127.0.0.1');
  assert.is((await outcome(`http://127.0.0.1:${port}/`, ['127.0.0.1'])).said, 'HTTP-request-denied');
});

destinations('an allowed name that resolves to a private address is refused', async ({ port, hits }) => {
  const private4 = [
    '127.0.0.1',
    '10.0.0.1',
    '169.254.169.254',
    '::1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
  ];
  for (const address of private4) {
    const { said, detail } = await outcome(`http://a.test:${port}/`, [`a.test:${port}`], { 'a.test': [[address]] });
    assert.is(said, 'destination-IP-prohibited', address);
    assert.match(detail, address);
  }
  assert.equal(hits, []);
});

destinations(
  'it is reached when that address was allowed too, with the name it was asked for',
  async ({ port, hits }) => {
    const allow = [`a.test:${port}`, `127.0.0.1:${port}`];
    assert.is((await outcome(`http://A.test:${port}/`, allow, { 'a.test': [['127.0.0.1']] })).said, '127.0.0.1');
    assert.equal(hits, [`127.0.0.1 a.test:${port}`]);
  },
);

destinations('of several addresses only the permitted are used', async ({ port, hits }) => {
  const allow = [`a.test:${port}`, `127.0.0.2:${port}`];
  const names = { 'a.test': [['127.0.0.1', '10.0.0.1', '127.0.0.2']] };
  assert.is((await outcome(`http://a.test:${port}/`, allow, names)).said, '127.0.0.2');
  assert.is(hits.length, 1);
});

destinations('an address that refuses is passed over for the next', async ({ port }) => {
  const allow = [`a.test:${port}`, `127.0.0.3:${port}`, `127.0.0.2:${port}`];
  assert.is(
    (await outcome(`http://a.test:${port}/`, allow, { 'a.test': [['127.0.0.3', '127.0.0.2']] })).said,
    '127.0.0.2',
  );
  const refused = await outcome(`http://a.test:${port}/`, allow, { 'a.test': [['127.0.0.3']] });
  assert.is(refused.said, 'connection-refused');
});

destinations('a name that changes its address between check and connection gains nothing', async ({ port, hits }) => {
  // 127.0.0.2 stands for an address on the internet: it is one that may be connected to.
  const { asked, resolve } = fakeResolver({ 'rebind.test': [['127.0.0.2'], ['127.0.0.1']] });
  const allow = [`rebind.test:${port}`, `127.0.0.2:${port}`];
  const client = openEgressClient({ allow, resolve, trust: systemTrust({}) });
  const first = await send(client.open(soon()), `http://rebind.test:${port}/`).answer;
  assert.is(first.body.toString(), '127.0.0.2');
  assert.is(asked.length, 1, 'one question for the check and the connection');
  const second = (await send(client.open(soon()), `http://rebind.test:${port}/`).answer.catch(
    (error) => error,
  )) as Failed;
  assert.is(second.kind, 'destination-IP-prohibited');
  await client.close();
  assert.equal(hits, [`127.0.0.2 rebind.test:${port}`]);
});

destinations('localhost is loopback, whoever is asked: its address must be allowed', async ({ port }) => {
  for (const host of ['localhost', 'app.localhost', 'LOCALHOST.']) {
    const reach = async (allow: string[]) => {
      const client = openEgressClient({ allow, resolve: resolveHere, trust: systemTrust({}) });
      const answer = send(client.open(soon()), `http://${host}:${port}/`).answer.then(
        ({ body }) => body.toString(),
        (error: Failed) => error.kind,
      );
      return answer.finally(() => client.close());
    };
    const names = [`localhost:${port}`, `*.localhost:${port}`];
    assert.is(await reach(names), 'destination-IP-prohibited', host);
    assert.is(await reach([...names, `127.0.0.1:${port}`]), '127.0.0.1', host);
  }
});

destinations('a name without an address is told as such', async ({ port }) => {
  assert.is((await outcome(`http://nowhere.test:${port}/`, [`nowhere.test:${port}`])).said, 'DNS-error');
});

destinations.run();
