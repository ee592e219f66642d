import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sampleUsage } from '../../../runtime/monitor/usage-sample.ts';
import { withPlane } from '../../support/control-plane.ts';
import { gate } from '../../support/fake-driver.ts';

const never = new AbortController().signal;

test('a sample tells what happened in its window, and all since the node started', async () => {
  await withPlane(async (plane) => {
    await plane.settledDeploy('a', 'one');
    await plane.get('/a');
    plane.monitor.observe('a', 5000, 'FUNCTION_TRAPPED');
    const sampling = sampleUsage(plane.monitor, 300, never);
    await plane.get('/a');
    await plane.get('/a');
    const { windowMs, workloads, node } = await sampling;
    const [a] = workloads;
    assert.is(a!.name, 'a');
    const inWindow = (perSecond: number) => Math.round((perSecond * windowMs) / 1000);
    assert.is(inWindow(a!.requestsPerSecond), 2);
    assert.is(inWindow(node.requestsPerSecond), 2);
    assert.is(a!.errorsPerSecond, 0);
    assert.is(a!.coldStarts, 2);
    assert.is(inWindow(a!.cpuPercent * 10), 2);
    assert.ok(a!.p99Ms! < 2500, 'the slow request was before');
    assert.ok(a!.total.p99Ms! >= 2500);
    assert.equal([a!.total.requests, a!.total.errors, a!.total.coldStarts], [4, 1, 3]);
    assert.ok(node.memoryBytes > 0 && node.cpuPercent > 0);
  });
});

test('what is in flight and what waits is that of the end of the window', async () => {
  await withPlane(async (plane) => {
    const { open, opened } = gate();
    await plane.settledDeploy('a', 'one', { concurrency: 1 }, async (exchange) => {
      await opened;
      exchange.reply.send(200, [], null);
    });
    const asked = [plane.get('/a'), plane.get('/a'), plane.get('/a')];
    await plane.driver.until(() => plane.driver.instances[0]?.inFlight === 1);
    while (plane.monitor.figures()[0]!.queued < 2) await new Promise((resolve) => setImmediate(resolve));
    const { workloads, node } = await sampleUsage(plane.monitor, 100, never);
    assert.equal([workloads[0]!.inFlight, workloads[0]!.queued], [1, 2]);
    assert.equal([node.inFlight, node.queued], [1, 2]);
    assert.is(workloads[0]!.p50Ms, null);
    open();
    await Promise.all(asked);
  });
});

test('a workload that is removed and deployed anew begins at zero', async () => {
  await withPlane(async (plane) => {
    for (let i = 0; i < 3; i++) plane.monitor.observe('a', 1, null);
    const sampling = sampleUsage(plane.monitor, 100, never);
    plane.monitor.forget('a');
    plane.monitor.observe('a', 1, null);
    const [a] = (await sampling).workloads;
    assert.ok(a!.requestsPerSecond > 0);
    assert.is(a!.total.requests, 1);
  });
});

test('whoever leaves ends the watch', async () => {
  await withPlane(async (plane) => {
    const leaving = new AbortController();
    const sampling = sampleUsage(plane.monitor, 60_000, leaving.signal);
    leaving.abort();
    await sampling.then(
      () => assert.unreachable('it was told'),
      (error) => assert.is(error.name, 'AbortError'),
    );
  });
});

test.run();
