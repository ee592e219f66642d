/** Functions that call other workloads of the node through their client for outbound requests, over the real dispatcher. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayNeighbours } from '../../gateway/neighbours.ts';
import { openEgressClient } from '../../runtime/egress/client.ts';
import type { EgressSession } from '../../runtime/egress/egress.ts';
import { systemTrust } from '../../runtime/egress/trust.ts';
import { insideOf } from '../../runtime/network/neighbours.ts';
import { type ControlPlane, withPlane } from '../support/control-plane.ts';
import { type Failed, fakeResolver, send, soon } from '../support/egress.ts';
import { headerValues, makeExchange } from '../support/exchange.ts';
import type { Guest } from '../support/fake-driver.ts';

const test = suite('functions that call other workloads');

/** What the workload `web` with this allow-list sends, and the names that were looked for beyond the node. */
async function calling(
  plane: ControlPlane,
  allow: readonly string[],
  work: (session: EgressSession, asked: readonly string[]) => Promise<void>,
): Promise<void> {
  const neighbours = new GatewayNeighbours();
  neighbours.attach(plane.dispatcher);
  const { asked, resolve } = fakeResolver({});
  const inside = insideOf(neighbours, 'web');
  const client = openEgressClient({ allow, resolve, trust: systemTrust({}), inside });
  try {
    await work(client.open(soon()), asked);
  } finally {
    await client.close();
  }
}

/** Tells what it was sent. */
const mirror: Guest = async ({ body, reply, method, target, headers }) => {
  let bytes = 0;
  await new Promise<void>((resolve, reject) => {
    const chunk = (piece: Uint8Array) => {
      bytes += piece.length;
    };
    body?.open({ chunk, end: () => resolve(), error: reject });
  });
  const names = ['x-skerry-caller', 'x-skerry-hops', 'x-forwarded-for'];
  const seen = names.map((name) => headerValues(headers, name).join());
  reply.send(200, [], Buffer.from(JSON.stringify([method, target, bytes, ...seen])));
};

const failure = (work: Promise<unknown>) =>
  work.then(
    () => assert.unreachable('it was answered'),
    (error: Failed) => error.kind,
  );

test('an allowed workload is called by name, and told by whom; nobody else is asked for the name', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('api', 'a', {}, mirror);
    await calling(plane, ['api.skerry.internal'], async (session, asked) => {
      const headers = ['x-skerry-caller', 'admin', 'x-skerry-hops', '2', 'x-forwarded-for', '203.0.113.7'];
      const { exchange } = makeExchange({ body: Buffer.alloc(300_000, 120) });
      const told = await send(session, 'http://API.skerry.internal./x?y=1', { headers, body: exchange.body }).answer;
      assert.is(told.status, 200);
      assert.equal(JSON.parse(told.body.toString()), ['POST', '/x?y=1', 300_000, 'web', '3', 'unknown']);
      assert.equal(asked, []);
      assert.is(plane.outcomes.length, 1, 'it counts as a request of the workload');
    });
  }));

test('what is not on the list is denied; what is no workload does not exist', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('api', 'a');
    await calling(plane, ['*.skerry.internal', 'other.example'], async (session, asked) => {
      assert.is((await send(session, 'http://gone.skerry.internal/').answer).status, 404);
      assert.is(await failure(send(session, 'http://a.b.skerry.internal/').answer), 'DNS-error');
      assert.is(await failure(send(session, 'http://api.skerry.internal:8080/').answer), 'HTTP-request-denied');
      assert.is(await failure(send(session, 'https://api.skerry.internal/').answer), 'HTTP-request-denied');
      assert.is(await failure(send(session, 'http://skerry.internal/').answer), 'HTTP-request-denied');
      assert.equal(asked, []);
    });
    await calling(plane, ['other.example'], async (session) => {
      assert.is(await failure(send(session, 'http://api.skerry.internal/').answer), 'HTTP-request-denied');
    });
  }));

test('an answer is streamed with back-pressure, and one that breaks off is not whole', () =>
  withPlane(async (plane) => {
    let written = 0;
    await plane.settledDeploy('api', 'a', { 'max-response': '1GiB' }, async ({ reply, target }) => {
      reply.start(200, []);
      let room: () => void = () => {};
      reply.onDrain(() => room());
      for (let i = 0; i < 400; i++) {
        if (target === '/break' && i === 10) return reply.abort(new Error('broken'));
        written += 65_536;
        if (!reply.write(Buffer.alloc(65_536))) {
          await new Promise<void>((resolve) => {
            room = resolve;
          });
        }
      }
      reply.end(null);
    });
    await calling(plane, ['api.skerry.internal'], async (session) => {
      const slow = send(session, 'http://api.skerry.internal/');
      await slow.head;
      slow.call.pause();
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.ok(written < 10 * 2 ** 20, `${written} bytes were made for a reader that rests`);
      slow.call.resume();
      assert.is((await slow.answer).body.length, 400 * 65_536);
      assert.is(await failure(send(session, 'http://api.skerry.internal/break').answer), 'HTTP-response-incomplete');
    });
  }));

test('the limits of the one that is called hold, and a circle ends', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('api', 'a', { 'max-request': '1KiB', timeout: '300ms' }, ({ target, reply }) => {
      if (target !== '/never') return reply.send(200, [], null);
      return new Promise<void>(() => {});
    });
    await calling(plane, ['api.skerry.internal'], async (session) => {
      const { exchange } = makeExchange({ body: Buffer.alloc(5000) });
      assert.is((await send(session, 'http://api.skerry.internal/', { body: exchange.body }).answer).status, 413);
      const around = send(session, 'http://api.skerry.internal/', { headers: ['x-skerry-hops', '16'] });
      const told = await around.answer;
      assert.is(told.status, 508);
      assert.match(told.body.toString(), /LOOP_DETECTED/);
    });
  }));

test.run();
