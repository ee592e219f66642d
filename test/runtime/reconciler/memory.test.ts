/** The memory ceiling of a node, over instances that come and go: real reconciler, dispatcher and gateway. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CpuAllocator } from '../../../runtime/scheduler/allocation/cpu-allocator.ts';
import { CPU_POLICIES } from '../../../runtime/scheduler/allocation/policies.ts';
import { ControlPlane } from '../../support/control-plane.ts';
import { gate } from '../../support/fake-driver.ts';

const MiB = 2 ** 20;

async function withMemory(bytes: number, work: (plane: ControlPlane) => Promise<void>): Promise<void> {
  const plane = await ControlPlane.start(undefined, undefined, bytes);
  plane.driver.replicated = true;
  await plane.serve();
  try {
    await work(plane);
  } finally {
    await plane.close();
  }
}

test('an idle instance is ended for a workload that is asked for; what is kept ready is not', () =>
  withMemory(128 * MiB, async (plane) => {
    await plane.settledDeploy('kept', 'k', { memory: '64MiB', min: 1 });
    await plane.settledDeploy('idle', 'i', { memory: '64MiB' });
    assert.is((await plane.get('/idle')).text, 'i');
    await plane.settledDeploy('other', 'o', { memory: '64MiB' });
    assert.is((await plane.get('/other')).text, 'o');
    assert.is(plane.reconciler.memory.usedBytes, 128 * MiB);
    const [told] = plane.decisions.of('idle');
    assert.is(told?.kind, 'memory');
    assert.is(told?.inputs.for, 'other');
    assert.equal(plane.decisions.of('kept'), []);
    // It comes back when it is asked for, in its turn.
    assert.is((await plane.get('/idle')).text, 'i');
    assert.is((await plane.get('/kept')).text, 'k');
  }));

test('a more urgent workload takes the place of a busy one, which ends what it has; a less urgent one is refused', () =>
  withMemory(64 * MiB, async (plane) => {
    const working = gate();
    await plane.settledDeploy('low', 'l', { memory: '64MiB', priority: 2 }, async ({ reply }) => {
      await working.opened;
      reply.send(200, [], Buffer.from('done'));
    });
    const slow = plane.get('/low');
    await plane.driver.until(() => plane.driver.instances[0]!.inFlight === 1);
    await plane.deploy('lower', 'x', { memory: '64MiB', priority: 1 });
    await plane.settled('lower');
    const refused = await plane.get('/lower');
    assert.is(refused.status, 503);
    assert.match(JSON.parse(refused.text).detail, /no memory left/);
    const urgent = plane.deploy('high', 'h', { memory: '64MiB', priority: 8 });
    await plane.driver.happened('stop');
    working.open();
    assert.is((await slow).text, 'done', 'no request is lost');
    await urgent;
    await plane.settled('high');
    assert.is((await plane.get('/high')).text, 'h');
    assert.ok(plane.reconciler.memory.usedBytes <= 64 * MiB);
  }));

test('CPU time that is short is divided among what runs, and given back', () =>
  withMemory(2 ** 30, async (plane) => {
    const resized: string[] = [];
    const working = gate();
    for (const [name, priority] of [
      ['a', 9],
      ['b', 0],
    ] as const) {
      await plane.settledDeploy(name, name, { cpus: 1, priority }, async ({ reply }) => {
        await working.opened;
        reply.send(200, [], null);
      });
    }
    for (const instance of plane.driver.instances) {
      instance.resize = async (limits) => void resized.push(`${instance.revision.workload} ${limits.cpuMillicores}`);
    }
    const allocator = new CpuAllocator(1100, CPU_POLICIES.priority, plane.decisions);
    allocator.tick(plane.reconciler.runners());
    assert.equal(resized, [], 'nobody has anything to do');
    const answers = [plane.get('/a'), plane.get('/b')];
    await plane.driver.until(() => plane.driver.instances.every(({ inFlight }) => inFlight === 1));
    allocator.tick(plane.reconciler.runners());
    assert.equal(resized, ['b 100']);
    working.open();
    await Promise.all(answers);
    while (plane.admission.running > 0) await new Promise(setImmediate);
    allocator.tick(plane.reconciler.runners());
    assert.is(resized.at(-1), 'b 1000');
  }));

test.run();
