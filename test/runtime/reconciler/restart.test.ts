import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withPlane } from '../../support/control-plane.ts';
import { gate } from '../../support/fake-driver.ts';

const uses = (name: string) => (revision: { workload: string }) => revision.workload === name;

test('a restart gives the next request a fresh instance, and drops none that runs', async () => {
  await withPlane(async (plane) => {
    const { driver } = plane;
    const slow = gate();
    await plane.settledDeploy('hello', 'x', {}, async ({ reply }, instance) => {
      if (instance === driver.instances[0]) await slow.opened;
      reply.send(200, [], Buffer.from(instance.id));
    });
    const running = plane.get('/hello');
    await driver.until(() => driver.instances[0]?.inFlight === 1);
    assert.is(await plane.reconciler.restart(uses('hello')), null);
    assert.is((await plane.get('/hello')).text, 'fake-2');
    slow.open();
    assert.equal(await running.then(({ status, text }) => [status, text]), [200, 'fake-1']);
    await driver.happened('stopped');
    assert.is(driver.instances[0]?.brokenOff, 0);
    assert.is(plane.status('hello')?.phase, 'ready');
  });
});

test('under load, restart after restart, no request fails', async () => {
  await withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'x');
    let running = true;
    const statuses: number[] = [];
    const clients = Array.from({ length: 8 }, async () => {
      while (running) statuses.push((await plane.get('/hello')).status);
    });
    for (let i = 0; i < 20; i++) {
      const before = statuses.length;
      await plane.reconciler.restart(uses('hello'));
      await plane.driver.until(() => statuses.length > before + 8);
    }
    running = false;
    await Promise.all(clients);
    assert.ok(statuses.every((status) => status === 200));
    assert.is(plane.driver.times('started'), 21);
    await plane.driver.happened('stopped', 20);
    assert.ok(plane.driver.instances.every(({ brokenOff }) => brokenOff === 0));
  });
});

test('who waits until nothing is left to be brought up waits no longer than that, and no longer than it may', async () => {
  await withPlane(async (plane) => {
    const start = gate();
    plane.driver.onStart = () => start.opened;
    await plane.deploy('hello', 'x');
    await plane.reconciler.settled(20);
    assert.is(plane.status('hello')?.phase, 'progressing');
    const settled = plane.reconciler.settled(60_000);
    start.open();
    await settled;
    assert.is(plane.status('hello')?.phase, 'ready');
  });
});

test('only what is meant is restarted, and what is cold stays cold', async () => {
  await withPlane(async (plane) => {
    await plane.settledDeploy('one', 'a', { idle: '100ms' });
    await plane.settledDeploy('two', 'b');
    await plane.reconciler.until(() => plane.status('one')?.phase === 'idle', 20_000);
    assert.is(plane.driver.times('stopped'), 1);
    await plane.reconciler.restart(() => false);
    await plane.reconciler.restart(uses('one'));
    assert.is(plane.driver.times('started'), 2);
    assert.is((await plane.get('/one')).status, 200);
    assert.is(plane.driver.times('started'), 3);
  });
});

test('when the fresh instance cannot be started the old one goes on, and the caller hears of it', async () => {
  await withPlane(async (plane) => {
    await plane.settledDeploy('hello', 'x');
    plane.driver.onStart = () => {
      throw new Error('no room');
    };
    const failure = await plane.reconciler.restart(uses('hello'));
    assert.is(failure?.workload, 'hello');
    assert.is((await plane.get('/hello')).status, 200);
    assert.is(plane.status('hello')?.phase, 'ready');
    plane.driver.onStart = () => {};
    assert.is(await plane.reconciler.restart(uses('hello')), null);
    assert.is(plane.driver.times('started'), 2);
  });
});

test('what could not be started is tried at once when what it needs has changed', async () => {
  await withPlane(async (plane) => {
    plane.driver.onStart = () => {
      throw new Error('a secret is missing');
    };
    await plane.settledDeploy('hello', 'x');
    assert.is(plane.status('hello')?.phase, 'failed');
    // The wait before the next try grows; the change is not waited for.
    for (let i = 0; i < 3; i++) await plane.get('/hello');
    plane.driver.onStart = () => {};
    await plane.reconciler.restart(uses('hello'));
    await plane.driver.happened('started');
    assert.is((await plane.get('/hello')).status, 200);
  });
});

test('an instance that drains is not taken back with what it was started with', async () => {
  await withPlane(async (plane) => {
    const { driver } = plane;
    const slow = gate();
    const first = await plane.settledDeploy('hello', 'one', {}, async ({ reply }, instance) => {
      if (instance === driver.instances[0]) await slow.opened;
      reply.send(200, [], Buffer.from(`one ${instance.id}`));
    });
    const running = plane.get('/hello');
    await driver.until(() => driver.instances[0]?.inFlight === 1);
    await plane.settledDeploy('hello', 'two');
    assert.is(await plane.reconciler.restart(uses('hello')), null);
    await plane.desired.rollback('hello', first.after.revisions[0]);
    await plane.settled('hello');
    assert.match((await plane.get('/hello')).text, /^one fake-[34]$/);
    slow.open();
    assert.is((await running).text, 'one fake-1');
  });
});

test('a node that stops waits for the instances that were replaced', async () => {
  await withPlane(async (plane) => {
    const { driver } = plane;
    const slow = gate();
    await plane.settledDeploy('hello', 'x', {}, async ({ reply }, instance) => {
      if (instance === driver.instances[0]) await slow.opened;
      reply.send(200, [], null);
    });
    const running = plane.get('/hello');
    await driver.until(() => driver.instances[0]?.inFlight === 1);
    await plane.reconciler.restart(uses('hello'));
    const closed = plane.reconciler.close(5000);
    slow.open();
    await Promise.all([running, closed]);
    assert.is(driver.times('stopped'), 2);
  });
});

test.run();
