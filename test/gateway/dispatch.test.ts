import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pickRevision } from '../../gateway/dispatch.ts';
import type { ServedRevision } from '../../runtime/snapshot.ts';
import { type ControlPlane, withPlane } from '../support/control-plane.ts';
import { failure } from '../support/failure.ts';
import { type Guest, gate } from '../support/fake-driver.ts';
import { exchangeRaw } from '../support/raw-http.ts';

/** Says who was reached and what it saw. */
const mirror =
  (name: string): Guest =>
  ({ reply, target, headers, authority }) => {
    const at = headers.indexOf('x-forwarded-prefix');
    const seen = { name, target, authority, prefix: at < 0 ? null : headers[at + 1] };
    reply.send(200, [], Buffer.from(JSON.stringify(seen)));
  };

async function ask(plane: ControlPlane, target: string, host = 'a') {
  const response = await exchangeRaw(plane.url, `GET ${target} HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
  return { status: response.status, ...JSON.parse(response.body.toString()) };
}

test('the path that a workload sees is what the client wrote, without the prefix of its default route', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'h', { routes: ['/api/*', 'shop.example/cart/*'] }, mirror('hello'));
    const sees = async (target: string, host: string, path: string, prefix: string | null) => {
      const seen = await ask(plane, target, host);
      assert.is(seen.target, path, `${host}${target}`);
      assert.is(seen.prefix, prefix, `${host}${target}`);
    };
    await sees('/hello', 'a', '/', '/hello');
    await sees('/hello/', 'a', '/', '/hello');
    await sees('/hello?x=1', 'a', '/?x=1', '/hello');
    await sees('/hello/a/b?', 'a', '/a/b?', '/hello');
    await sees('/hello//x', 'a', '//x', '/hello');
    await sees('/hello/../x/./y', 'a', '/../x/./y', '/hello');
    await sees('/hello/%2F%2f%00%E4?q=%20+&&=?/', 'a', '/%2F%2f%00%E4?q=%20+&&=?/', '/hello');
    await sees('/hello/x', 'hello.localhost', '/hello/x', null);
    await sees('/', 'hello.localhost:8080', '/', null);
    await sees('/', 'HELLO.LocalHost', '/', null);
    await sees('/api/v1?x', 'a', '/api/v1?x', null);
    await sees('/cart/1', 'shop.example', '/cart/1', null);
  }));

test('hosts are taken from where the client wrote them: case, port, final dot, IPv6, absolute-form targets', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('one', '1', { routes: ['/shared/*'] }, mirror('one'));
    await plane.settledDeploy('two', '2', { routes: ['two.example/shared/*'] }, mirror('two'));
    assert.is((await ask(plane, '/shared/x', 'two.example')).name, 'two');
    assert.is((await ask(plane, '/shared/x', 'TWO.example:81')).name, 'two');
    assert.is((await ask(plane, '/shared/x', 'two.example.')).name, 'two');
    assert.is((await ask(plane, '/shared/x', 'two.example.:8080')).authority, 'two.example.:8080');
    assert.is((await ask(plane, '/shared/x', 'two.example.:8080')).name, 'two');
    assert.is((await ask(plane, '/', 'one.localhost.')).name, 'one');
    assert.is((await ask(plane, '/shared/x', '[::1]:8080')).name, 'one');
    assert.is((await ask(plane, '/shared/x', '[::1]')).authority, '[::1]');
    // The target's own authority wins over Host (RFC 9112, 3.2.2).
    const absolute = await ask(plane, 'http://TWO.example:99/shared/x?y', 'other.example');
    assert.is(absolute.name, 'two');
    assert.is(absolute.target, '/shared/x?y');
    assert.is(absolute.authority, 'TWO.example:99');
    assert.is((await ask(plane, 'http://two.localhost?q', 'x')).target, '/?q');
  }));

test('what has no route is answered 404 as a problem, `OPTIONS *` too', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'h');
    for (const target of ['/', '/hell', '/helloo', '/Hello', '/%68ello']) {
      const problem = await ask(plane, target);
      assert.is(problem.status, 404, target);
      assert.is(problem.code, 'NO_ROUTE');
    }
    const options = await exchangeRaw(plane.url, 'OPTIONS * HTTP/1.1\r\nhost: hello.localhost\r\n\r\n');
    assert.is(options.status, 404);
    assert.is((await ask(plane, '/hello', 'ffffffffffff--hello.localhost')).status, 404, 'no such revision');
  }));

test('a preview host reaches its revision, whatever the traffic, and no route without a host takes it', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1');
    const first = plane.desired.require('hello').value.traffic[0]!.revision;
    await plane.settledDeploy('hello', 'v2');
    await plane.settledDeploy('all', 'all', { routes: ['/*'] });
    assert.is((await plane.get('/', `${first}--hello.localhost`)).text, 'v1');
    assert.is((await plane.get('/anything', 'hello.localhost')).text, 'v2');
    assert.is((await plane.get('/', 'nobody.example')).text, 'all');
    assert.is((await plane.get('/', 'ffffffffffff--hello.localhost')).status, 404);
  }));

test("the node's own paths are never a workload's", () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('all', 'all', { routes: ['/*'] });
    assert.is((await plane.get('/_skerry/healthz')).text, 'ok\n');
    assert.is((await plane.get('/_skerry/readyz', 'all.localhost')).text, 'ready\n');
    assert.is((await plane.get('/_skerry/else')).status, 404);
    plane.dispatcher.stopping = true;
    assert.is((await plane.get('/_skerry/healthz')).status, 200);
    assert.is((await plane.get('/_skerry/readyz')).status, 503);
    const refused = await plane.get('/all');
    assert.is(JSON.parse(refused.text).code, 'NODE_STOPPING');
  }));

test('traffic is split by percent', () => {
  const revision = (id: string) => ({ revision: { id } }) as unknown as ServedRevision;
  const traffic = [
    { revision: revision('a'), percent: 70 },
    { revision: revision('b'), percent: 29 },
    { revision: revision('c'), percent: 1 },
  ];
  const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
  const draws = 10_000;
  for (let i = 0; i < draws; i++) counts[pickRevision({ traffic }, i / draws)!.revision.id]!++;
  assert.equal(counts, { a: 7000, b: 2900, c: 100 });
  assert.is(pickRevision({ traffic }, 0)!.revision.id, 'a');
  assert.is(pickRevision({ traffic }, 1 - 2 ** -53)!.revision.id, 'c');
  assert.is(pickRevision({ traffic: [] }, 0.5), undefined);
});

test('a split reaches both revisions through the gateway', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1');
    await plane.settledDeploy('hello', 'v2');
    const shares = plane.desired.require('hello').value.revisions.map((revision) => ({ revision, percent: 50 }));
    await plane.desired.traffic('hello', shares);
    await plane.settled('hello');
    const seen = new Set<string>();
    // Missing one of two in 200 fair draws: 1 in 2^199.
    for (let i = 0; i < 200 && seen.size < 2; i++) seen.add((await plane.get('/hello')).text);
    assert.equal([...seen].sort(), ['v1', 'v2']);
  }));

test('many requests for a cold workload start it once', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1', { idle: '100ms' });
    await plane.driver.happened('stopped');
    const starting = gate();
    plane.driver.onStart = () => starting.opened;
    const answers = Array.from({ length: 30 }, () => plane.get('/hello'));
    await plane.driver.happened('start', 2);
    starting.open();
    for (const { text } of await Promise.all(answers)) assert.is(text, 'v1');
    assert.is(plane.driver.times('start'), 2);
  }));

test('who leaves while a workload is started for its connection does not wait for that; the start goes on', () =>
  withPlane(async (plane) => {
    const starting = gate();
    plane.driver.onStart = () => starting.opened;
    await plane.deploy('hello', 'v1');
    await plane.driver.happened('start');
    const leaving = new AbortController();
    const connecting = failure(plane.dispatcher.connectTo('hello', 9000, leaving.signal));
    leaving.abort(new Error('it has left'));
    assert.is((await connecting).message, 'it has left');
    starting.open();
    await plane.settled('hello');
    assert.is((await plane.get('/hello')).text, 'v1');
  }));

test('a request whose deadline passes while its workload starts is answered 504; the start goes on', () =>
  withPlane(async (plane) => {
    const starting = gate();
    plane.driver.onStart = () => starting.opened;
    await plane.deploy('hello', 'v1', { timeout: '20ms' });
    const late = await plane.get('/hello');
    assert.is(late.status, 504);
    assert.is(JSON.parse(late.text).code, 'DEADLINE');
    starting.open();
    await plane.settled('hello');
    assert.is((await plane.get('/hello')).text, 'v1');
  }));

test('more than concurrency and queue hold is answered 429 with Retry-After; the others are served', () =>
  withPlane(async (plane) => {
    const working = gate();
    await plane.settledDeploy('hello', 'v1', { concurrency: 2, queue: 3 }, async ({ reply }) => {
      await working.opened;
      reply.send(200, [], Buffer.from('done'));
    });
    const { admission } = plane.reconciler.current.workloads.get('hello')!.traffic[0]!.revision;
    const answers = Array.from({ length: 5 }, () => plane.get('/hello'));
    while (admission.queued < 3) await new Promise((resolve) => setImmediate(resolve));
    const refused = await plane.get('/hello');
    assert.is(refused.status, 429);
    assert.is(JSON.parse(refused.text).code, 'QUEUE_FULL');
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
    working.open();
    for (const { text } of await Promise.all(answers)) assert.is(text, 'done');
    assert.is(plane.driver.instances[0]!.peak, 2);
    assert.is(admission.running, 0);
  }));

test('a request that waits in the queue past its deadline is answered 504 and never reaches the workload', () =>
  withPlane(async (plane) => {
    const working = gate();
    await plane.settledDeploy('hello', 'v1', { concurrency: 1, timeout: '30ms' }, async ({ reply }) => {
      await working.opened;
      reply.send(200, [], Buffer.from('done'));
    });
    const first = plane.get('/hello');
    await plane.driver.until(() => plane.driver.instances[0]!.inFlight === 1);
    const second = await plane.get('/hello');
    assert.is(second.status, 504);
    assert.is(JSON.parse(second.text).code, 'QUEUE_DEADLINE');
    working.open();
    assert.is((await first).text, 'done');
    assert.is(plane.driver.instances[0]!.requests, 1);
  }));

test('a driver that throws where it should reject costs no place', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1', { concurrency: 1 });
    const [instance] = plane.driver.instances;
    const handle = instance!.handle;
    instance!.handle = () => {
      throw new Error('at once');
    };
    for (let i = 0; i < 3; i++) assert.is((await plane.get('/hello')).status, 500);
    instance!.handle = handle;
    assert.is((await plane.get('/hello')).text, 'v1');
  }));

test('a thousand workloads are deployed and each answers on its route', () =>
  withPlane(async (plane) => {
    for (let i = 0; i < 1000; i += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, j) => plane.deploy(`w${i + j}`, `text ${i + j}`)));
    }
    assert.is(plane.reconciler.current.routes.length, 2000);
    for (const i of [0, 1, 499, 500, 998, 999]) {
      assert.is((await plane.get(`/w${i}`)).text, `text ${i}`);
      assert.is((await plane.get('/', `w${i}.localhost`)).text, `text ${i}`);
    }
  }));

test.run();
