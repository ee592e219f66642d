/** Workloads whose load needs more instances than one: started, spread over, paused, stopped and replaced. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WorkloadSettings } from '../../../runtime/workload/settings.ts';
import { type ControlPlane, withPlane } from '../../support/control-plane.ts';
import { type Gate, type Guest, gate } from '../../support/fake-driver.ts';

/** Answers each request when `next` is called, the oldest first. */
function turnstile(): { guest: Guest; next(): void } {
  const waiting: Gate[] = [];
  return {
    guest: async (exchange, instance) => {
      const turn = gate();
      waiting.push(turn);
      await turn.opened;
      exchange.reply.send(200, [], Buffer.from(instance.id));
    },
    next: () => waiting.shift()!.open(),
  };
}

function replicated(work: (plane: ControlPlane) => Promise<void>): () => Promise<void> {
  return () =>
    withPlane(async (plane) => {
      plane.driver.replicated = true;
      await work(plane);
    });
}

const one: WorkloadSettings = { concurrency: 1, max: 3 };
const instancesOf = (plane: ControlPlane) =>
  plane.reconciler.current.workloads.get('w')!.traffic[0]!.revision.instances;
const inFlight = (plane: ControlPlane) => plane.driver.instances.map((instance) => instance.inFlight);

test(
  'requests that wait bring further instances up, as many as are allowed, and each has its share',
  replicated(async (plane) => {
    const { guest, next } = turnstile();
    await plane.settledDeploy('w', 'w', one, guest);
    const answers = Array.from({ length: 5 }, () => plane.get('/w'));
    await plane.driver.until(() => inFlight(plane).reduce((sum, each) => sum + each, 0) === 3);
    assert.equal(inFlight(plane), [1, 1, 1]);
    assert.is(plane.driver.times('start'), 3);
    for (let i = 0; i < 5; i++) {
      await plane.driver.until(() => inFlight(plane).some((each) => each > 0));
      next();
      await Promise.race(answers);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const all = await Promise.all(answers);
    assert.ok(all.every(({ status }) => status === 200));
    assert.is(new Set(all.map(({ text }) => text)).size, 3);
    assert.equal(
      plane.driver.instances.map(({ peak }) => peak),
      [1, 1, 1],
      'none had more than its concurrency',
    );
  }),
);

test(
  'min instances are kept; those above are paused when idle, then stopped, and a request wakes a paused one',
  replicated(async (plane) => {
    const { guest, next } = turnstile();
    await plane.settledDeploy('w', 'w', { ...one, min: 1, idle: '4s' }, guest);
    const answers = [plane.get('/w'), plane.get('/w')];
    await plane.driver.until(() => inFlight(plane).length === 2 && inFlight(plane).every((each) => each === 1));
    next();
    next();
    await Promise.all(answers);
    await plane.driver.until(() => plane.driver.instances[1]!.paused);
    assert.is(plane.driver.instances[0]!.paused, false, 'what is kept ready rests never');
    const again = [plane.get('/w'), plane.get('/w')];
    await plane.driver.until(() => inFlight(plane).every((each) => each === 1));
    assert.is(plane.driver.instances[1]!.paused, false);
    next();
    next();
    await Promise.all(again);
    await plane.driver.happened('stopped', 1);
    assert.is(instancesOf(plane).length, 1);
    assert.is(instancesOf(plane)[0]!.instance, plane.driver.instances[0]);
  }),
);

test(
  'an instance that ends by itself is replaced where it is wanted, later when it ends at once',
  replicated(async (plane) => {
    await plane.settledDeploy('w', 'w', { min: 2 });
    await plane.driver.happened('started', 2);
    plane.driver.instances[0]!.crash('exit code 1');
    await plane.driver.happened('started', 3);
    plane.driver.instances[1]!.crash();
    plane.driver.instances[2]!.crash('exit code 2');
    await plane.driver.until(() => true);
    await plane.reconciler.until(() => instancesOf(plane).length === 0, 1000);
    const { status, text, headers } = await plane.get('/w');
    assert.is(status, 503);
    assert.ok(Number(headers.get('retry-after')) > 0);
    assert.match(text, /exit code 2/, 'what it ended with is told');
    await plane.driver.happened('started', 5);
    assert.is((await plane.get('/w')).text, 'w');
  }),
);

test(
  'one that is ended again and again since it is not well waits longer each time, and starts once each time',
  replicated(async (plane) => {
    await plane.settledDeploy('w', 'w', { min: 1 });
    const runner = plane.reconciler.current.workloads.get('w')!.traffic[0]!.revision.revision.id;
    const { retryAt } = plane.reconciler.controller('w')!.runner(runner)!;
    let before = retryAt;
    for (let ends = 1; ends <= 2; ends++) {
      const ended = performance.now();
      plane.driver.instances.at(-1)!.crash('no answer', 'failed');
      await plane.reconciler.until(() => instancesOf(plane).length === 0, 1000);
      const now = plane.reconciler.controller('w')!.runner(runner)!;
      assert.ok(now.retryAt - ended >= 1000 * 2 ** (ends - 1) && now.retryAt > before);
      before = now.retryAt;
      assert.is(now.ends?.count, ends);
      assert.is(now.ends?.message, 'no answer');
      assert.match((await plane.get('/w')).text, /no answer/);
      await plane.driver.happened('started', ends + 1);
      assert.ok(performance.now() >= before);
      await plane.reconciler.until(() => instancesOf(plane).length === 1, 5000);
    }
    assert.is(plane.driver.times('start'), 3);
  }),
);

test(
  'one that ended while nobody wanted it starts again with the next request',
  replicated(async (plane) => {
    await plane.settledDeploy('w', 'w');
    plane.driver.instances[0]!.crash();
    await plane.reconciler.until(() => instancesOf(plane).length === 0, 1000);
    assert.is((await plane.get('/w')).status, 503, 'not at once, when it has just ended');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    assert.is((await plane.get('/w')).text, 'w');
  }),
);

test(
  'all instances of a revision are replaced by those of the next, and a removed workload leaves none',
  replicated(async (plane) => {
    await plane.settledDeploy('w', 'v1', { min: 2 });
    await plane.driver.happened('started', 2);
    await plane.settledDeploy('w', 'v2', { min: 2 });
    await plane.driver.happened('stopped', 2);
    await plane.driver.happened('started', 4);
    assert.is((await plane.get('/w')).text, 'v2');
    await plane.desired.remove('w');
    await plane.driver.happened('stopped', 4);
  }),
);

test.run();
