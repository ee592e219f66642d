import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reconcilerErrors } from '../../../runtime/reconciler/errors.ts';
import { revisionKey, workloadKey } from '../../../runtime/workload/documents.ts';
import { ControlPlane, withPlane } from '../../support/control-plane.ts';
import { gate, says } from '../../support/fake-driver.ts';

const revisionIn = (plane: ControlPlane, name: string) => plane.desired.require(name).value.traffic[0]!.revision;

test('a deployed workload answers on its host, its path, and its preview host', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1');
    assert.is((await plane.get('/hello')).text, 'v1');
    assert.is((await plane.get('/', 'hello.localhost')).text, 'v1');
    assert.is((await plane.get('/', `${revisionIn(plane, 'hello')}--hello.localhost`)).text, 'v1');
    assert.is(plane.status('hello')?.phase, 'ready');
  }));

test('a new revision is ready before traffic moves to it', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1');
    const starting = gate();
    plane.driver.onStart = () => starting.opened;
    await plane.deploy('hello', 'v2');
    await plane.driver.happened('start', 2);
    assert.is(plane.status('hello')?.phase, 'progressing');
    for (let i = 0; i < 5; i++) assert.is((await plane.get('/hello')).text, 'v1');
    starting.open();
    await plane.settled('hello');
    assert.is((await plane.get('/hello')).text, 'v2');
  }));

test('the first requests of a new workload wait for its start', () =>
  withPlane(async (plane) => {
    const starting = gate();
    plane.driver.onStart = () => starting.opened;
    await plane.deploy('hello', 'v1');
    await plane.driver.happened('start');
    const answer = plane.get('/hello');
    starting.open();
    assert.is((await answer).text, 'v1');
    assert.is(plane.driver.times('start'), 1);
  }));

test('a new revision that cannot start leaves the old one serving, says why, and takes over when it can', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1');
    let broken = true;
    plane.driver.onStart = () => {
      if (broken) throw reconcilerErrors.DRIVER_MISSING('hello', 'broken');
    };
    const { after, generation } = await plane.deploy('hello', 'v2');
    const status = await plane.settled('hello');
    assert.is(status.phase, 'failed');
    assert.is(status.observedGeneration, generation);
    assert.match(status.message, /broken/);
    assert.is.not(status.traffic[0]!.revision, after.traffic[0]!.revision);
    assert.is((await plane.get('/hello')).text, 'v1');
    broken = false;
    // The reconciler tries again by itself.
    await plane.reconciler.until(() => plane.status('hello')?.phase === 'ready', 20_000);
    assert.is((await plane.get('/hello')).text, 'v2');
  }));

test('a failing start is tried again later and later, not at every request', () =>
  withPlane(async (plane) => {
    plane.driver.onStart = () => {
      throw new Error('no luck');
    };
    await plane.settledDeploy('hello', 'v1');
    const runner = plane.reconciler.controller('hello')!.runner(revisionIn(plane, 'hello'))!;
    const first = runner.retryAt - performance.now();
    for (let i = 0; i < 20; i++) {
      const { status, headers, text } = await plane.get('/hello');
      assert.is(status, 503);
      assert.ok(Number(headers.get('retry-after')) > 0);
      assert.is(JSON.parse(text).code, 'NOT_STARTABLE');
      assert.not.match(text, /no luck/, 'what an inner error says is for the log');
    }
    assert.is(plane.driver.times('start'), 1, 'requests do not make it try');
    await plane.driver.happened('failed', 2);
    // The second wait is twice the first, so that it is longer than all of the first however slow this machine is.
    await plane.settled('hello');
    assert.ok(runner.retryAt - performance.now() > first);
  }));

test('a start that takes longer than the start timeout has failed; what comes up later is ended', () =>
  withPlane(async (plane) => {
    const starting = gate();
    plane.driver.onStart = () => starting.opened;
    await plane.settledDeploy('hello', 'v1', { 'start-timeout': '20ms' });
    assert.is(plane.status('hello')?.phase, 'failed');
    assert.match(plane.status('hello')!.message, /START_TIMEOUT/);
    starting.open();
    await plane.driver.happened('stopped');
  }));

test('a removed workload stops answering at once, and its requests in flight come to their end', () =>
  withPlane(async (plane) => {
    const working = gate();
    await plane.settledDeploy('hello', 'v1', {}, async (exchange) => {
      await working.opened;
      exchange.reply.send(200, [], Buffer.from('finished'));
    });
    const answer = plane.get('/hello');
    await plane.driver.until(() => plane.driver.instances[0]!.inFlight === 1);
    await plane.desired.remove('hello');
    assert.is((await plane.get('/hello')).status, 404);
    assert.is(plane.removed.length, 0);
    assert.not(plane.reconciler.gone('hello'), 'its request still runs');
    working.open();
    assert.is((await answer).text, 'finished');
    await plane.reconciler.until(() => plane.reconciler.gone('hello'), 20_000);
    assert.ok(plane.reconciler.gone('hello'));
    assert.equal(plane.removed, ['hello']);
    assert.is(plane.driver.instances[0]!.brokenOff, 0);
    assert.is(plane.driver.times('release'), 1);
  }));

test('a workload that is deployed again need not wait until the removed one has drained', () =>
  withPlane(async (plane) => {
    const working = gate();
    await plane.settledDeploy('hello', 'v1', {}, async (exchange) => {
      await working.opened;
      exchange.reply.send(200, [], Buffer.from('old'));
    });
    const old = plane.get('/hello');
    await plane.driver.until(() => plane.driver.instances[0]!.inFlight === 1);
    await plane.desired.remove('hello');
    await plane.settledDeploy('hello', 'v2');
    assert.is((await plane.get('/hello')).text, 'v2');
    working.open();
    assert.is((await old).text, 'old');
    await plane.driver.happened('stopped');
    assert.equal(plane.removed, [], 'its logs and counts are those of the new one by now');
  }));

test('requests that wait for a place in an old revision are served by it, also when it was removed', () =>
  withPlane(async (plane) => {
    const working = gate();
    await plane.settledDeploy('hello', 'v1', { concurrency: 1 }, async (exchange) => {
      await working.opened;
      exchange.reply.send(200, [], Buffer.from('v1'));
    });
    const answers = [1, 2, 3].map(() => plane.get('/hello'));
    const { admission } = plane.reconciler.current.workloads.get('hello')!.traffic[0]!.revision;
    while (admission.queued < 2) await new Promise((resolve) => setImmediate(resolve));
    await plane.settledDeploy('hello', 'v2');
    await plane.desired.remove('hello');
    working.open();
    assert.equal(
      (await Promise.all(answers)).map(({ text }) => text),
      ['v1', 'v1', 'v1'],
    );
    await plane.driver.until(() => plane.removed.length === 1);
    assert.is(plane.driver.times('start'), 2, 'no instance was started for those that waited');
  }));

test('changes that come faster than they can be carried out end in the last one', () =>
  withPlane(async (plane) => {
    const starting = gate();
    plane.driver.onStart = () => starting.opened;
    await plane.deploy('hello', 'v0');
    await plane.driver.happened('start');
    for (let i = 1; i <= 8; i++) await plane.deploy('hello', `v${i}`);
    starting.open();
    await plane.settled('hello');
    assert.is((await plane.get('/hello')).text, 'v8');
    assert.is(plane.driver.times('start'), 2, 'those between were never started');
  }));

test('an idle instance is unloaded and woken by the next request', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1', { idle: '100ms' });
    assert.is((await plane.get('/hello')).text, 'v1');
    await plane.driver.happened('stopped');
    await plane.reconciler.until(() => plane.status('hello')?.phase === 'idle', 20_000);
    assert.is((await plane.get('/hello')).text, 'v1');
    assert.is(plane.driver.times('start'), 2);
    assert.is(plane.status('hello')?.phase, 'ready');
  }));

test('an instance is not unloaded while a request runs, nor when one is to be kept ready', () =>
  withPlane(async (plane) => {
    const working = gate();
    await plane.settledDeploy('busy', 'b', { idle: '100ms' }, async (exchange) => {
      await working.opened;
      exchange.reply.send(200, [], Buffer.from('done'));
    });
    await plane.settledDeploy('kept', 'k', { idle: '100ms', min: 1 });
    await plane.settledDeploy('idle', 'i', { idle: '100ms' });
    const answer = plane.get('/busy');
    await plane.driver.happened(`stopped ${revisionIn(plane, 'idle')}`);
    assert.is(plane.driver.times('stop'), 1);
    working.open();
    assert.is((await answer).text, 'done');
  }));

test('a workload scaled to 0 is parked: it answers 503, runs nothing, and comes back when it is scaled up', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1');
    await plane.desired.scale('hello', 0, 0);
    assert.is((await plane.settled('hello')).phase, 'parked');
    await plane.driver.happened('stopped');
    const refused = await plane.get('/hello');
    assert.is(refused.status, 503);
    assert.is(JSON.parse(refused.text).code, 'PARKED');
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
    assert.is((await plane.get('/', `${revisionIn(plane, 'hello')}--hello.localhost`)).status, 503);
    await plane.desired.scale('hello', undefined, 5);
    await plane.settled('hello');
    assert.is((await plane.get('/hello')).text, 'v1');
  }));

test('min keeps an instance ready before any request comes', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1', { idle: '100ms' });
    await plane.driver.happened('stopped');
    await plane.desired.scale('hello', 1, undefined);
    await plane.settled('hello');
    assert.is(plane.driver.times('start'), 2);
  }));

test('a rollback moves traffic back; the revision it leaves is stopped', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1');
    await plane.settledDeploy('hello', 'v2');
    const second = revisionIn(plane, 'hello');
    await plane.desired.rollback('hello', undefined);
    await plane.settled('hello');
    assert.is((await plane.get('/hello')).text, 'v1');
    await plane.driver.happened(`stopped ${second}`);
    assert.is((await plane.get('/', `${second}--hello.localhost`)).text, 'v2', 'its preview host still wakes it');
  }));

test('after a restart everything is served at once, before anything was started', async () => {
  const first = await (await ControlPlane.start()).serve();
  for (let i = 0; i < 5; i++) await first.settledDeploy(`w${i}`, `text ${i}`);
  await first.stop();
  const second = await ControlPlane.start(first.folder);
  const starting = gate();
  try {
    second.driver.onStart = () => starting.opened;
    for (let i = 0; i < 5; i++) second.driver.define(`text ${i}`);
    await second.serve();
    assert.is(second.reconciler.current.workloads.size, 5);
    const answers = [0, 1, 2, 3, 4].map((i) => second.get(`/w${i}`));
    await second.driver.happened('start');
    starting.open();
    for (const [i, answer] of answers.entries()) assert.is((await answer).text, `text ${i}`);
  } finally {
    starting.open();
    await second.close();
  }
});

test('a damaged revision record is answered 503, and harms no other workload', async () => {
  const first = await (await ControlPlane.start()).serve();
  await first.settledDeploy('hurt', 'a');
  await first.settledDeploy('well', 'b');
  // As if its record could not be read: the document says it is there, and it is not.
  const key = revisionKey('hurt', revisionIn(first, 'hurt'));
  const record = first.store.get(key)!;
  await first.store.commit([{ key, expect: record.generation, delete: true }]);
  await first.stop();
  const second = await ControlPlane.start(first.folder);
  try {
    second.driver.define('b', says('b'));
    await second.serve();
    await second.settled('hurt');
    assert.is(second.status('hurt')?.phase, 'failed');
    assert.match(second.status('hurt')!.message, /REVISION_MISSING/);
    const refused = await second.get('/hurt');
    assert.is(refused.status, 503);
    assert.is(JSON.parse(refused.text).code, 'NOT_STARTABLE');
    assert.ok(refused.headers.get('retry-after'));
    assert.is((await second.get('/well')).text, 'b');
    // Deploying again mends it.
    await second.settledDeploy('hurt', 'c');
    assert.is((await second.get('/hurt')).text, 'c');
  } finally {
    await second.close();
  }
});

test('a document changed by another writer is carried out like any other change', () =>
  withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'v1');
    const { generation, value } = plane.desired.require('hello');
    const scale = { ...value.scale, max: 0 };
    await plane.store.commit([{ key: workloadKey('hello'), expect: generation, value: { ...value, scale } }]);
    await plane.settled('hello');
    assert.is((await plane.get('/hello')).status, 503);
  }));

test.run();
