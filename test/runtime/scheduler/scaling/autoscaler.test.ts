/**
 * The monitors at work in a live control plane: real requests through the gateway, instances that the scaler has started. The
 * seconds and minutes between the looks are the test's. Each monitor alone brings its instance up; without it, none comes.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { MonitorKind } from '../../../../runtime/monitor/load-sample.ts';
import { DecisionLog } from '../../../../runtime/scheduler/decisions.ts';
import { Advice } from '../../../../runtime/scheduler/scaling/advice.ts';
import { Autoscaler, MONITOR_MAKERS, type Scaled } from '../../../../runtime/scheduler/scaling/autoscaler.ts';
import { type ControlPlane, withPlane } from '../../../support/control-plane.ts';

class Watch {
  readonly decisions = new DecisionLog();
  readonly plane: ControlPlane;
  now = 0;
  readonly #scaler: Autoscaler;

  constructor(plane: ControlPlane, kinds: readonly MonitorKind[]) {
    this.plane = plane;
    const monitors = new Map(kinds.map((kind) => [kind, MONITOR_MAKERS[kind]]));
    this.#scaler = new Autoscaler({ monitors, decisions: this.decisions });
  }

  tick(ms: number): void {
    this.now += ms;
    this.#scaler.tick(this.now, this.plane.reconciler.runners());
  }

  async ask(times: number): Promise<void> {
    for (let i = 0; i < times; i++) assert.is((await this.plane.get('/w')).status, 200);
  }

  get instances(): number {
    return this.plane.reconciler.current.workloads.get('w')!.traffic[0]!.revision.instances.length;
  }

  async startsFollow(): Promise<void> {
    // A start of the fake driver takes some turns of the loop.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function withAndWithout(kind: MonitorKind, story: (watch: Watch, on: boolean) => Promise<void>): void {
  for (const on of [true, false]) {
    test(`${kind} monitor, switched ${on ? 'on' : 'off'}`, () =>
      withPlane(async (plane) => {
        plane.driver.replicated = true;
        await story(new Watch(plane, on ? [kind] : []), on);
      }));
  }
}

withAndWithout('statistical', async (watch, on) => {
  await watch.plane.settledDeploy('w', 'w', {});
  watch.tick(1000);
  for (let i = 0; i < 20; i++) {
    await watch.ask(1);
    watch.tick(1000);
  }
  assert.is(watch.instances, 1);
  await watch.ask(30);
  watch.tick(1000);
  await watch.startsFollow();
  assert.is(watch.instances > 1, on, 'an unusual number of requests brings instances up before they are full');
  const [decision] = watch.decisions.of('w');
  assert.is(decision?.inputs.monitor, on ? 'statistical' : undefined);
});

withAndWithout('model', async (watch, on) => {
  await watch.plane.settledDeploy('w', 'w', { concurrency: 1, timeout: '1s' }, async ({ reply }) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    reply.send(200, [], null);
  });
  watch.tick(1000);
  for (let i = 0; i < 4; i++) {
    // One after the other: nothing waits, but requests that come at random would.
    await watch.ask(10);
    watch.tick(270);
    await watch.startsFollow();
  }
  assert.is(watch.instances > 1, on, 'a queue that is to be expected brings instances up before it is there');
  const [decision] = watch.decisions.of('w');
  assert.is(decision?.inputs.monitor, on ? 'model' : undefined);
});

withAndWithout('learned', async (watch, on) => {
  const { plane } = watch;
  await plane.settledDeploy('w', 'w', { idle: '100ms' });
  watch.tick(1000);
  const cold = () => plane.reconciler.current.workloads.get('w')!.traffic[0]!.revision.instances.length === 0;
  let warmBefore = 0;
  for (let minute = 0; minute < 90; minute++) {
    // The last quarter of the minute, then its successor's first seconds, in which a timer asks in every tenth.
    watch.tick(50_000);
    const asks = minute % 10 === 9;
    if (minute > 80) {
      await plane.reconciler.until(cold, 4000);
      watch.tick(1000);
      await watch.startsFollow();
      if (asks && !cold()) warmBefore++;
      watch.tick(9000);
    } else watch.tick(10_000);
    if (asks) await watch.ask(3);
  }
  assert.is(warmBefore > 0, on, 'what a timer asks for is warm when it asks');
});

test('a monitor that throws is switched off and told of; the others go on', () =>
  withPlane(async (plane) => {
    const decisions = new DecisionLog();
    const broken = () => ({
      observe() {
        throw new Error('out of its depth');
      },
    });
    let asked = 0;
    const counting = () => ({
      observe() {
        asked++;
        return null;
      },
    });
    const scaler = new Autoscaler({
      decisions,
      monitors: new Map([['model', broken] as const, ['learned', counting] as const]),
    });
    await plane.settledDeploy('w', 'w');
    for (let now = 1000; now <= 4000; now += 1000) scaler.tick(now, plane.reconciler.runners());
    assert.is(asked, 3);
    const [told, ...more] = decisions.of('w');
    assert.equal(more, []);
    assert.match(told!.decision, /model monitor failed/);
    assert.is(told!.inputs.why, 'out of its depth');
    assert.is((await plane.get('/w')).status, 200);
  }));

test('a clock that goes back or stands still shows the monitors nothing', () => {
  const seen: number[] = [];
  const monitor = () => ({
    observe({ windowMs }: { windowMs: number }) {
      seen.push(windowMs);
      return null;
    },
  });
  const scaler = new Autoscaler({ decisions: new DecisionLog(), monitors: new Map([['model', monitor] as const]) });
  const scaled: Scaled = {
    workload: 'w',
    load: { arrived: 0, begun: 0, waitedMs: 0, meanMs: 0, scv: 0 },
    instanceCount: 1,
    concurrency: 1,
    most: 1,
    objectiveMs: 10,
    advise() {},
  };
  for (const now of [1000, 2000, 2000, 500, 3000]) scaler.tick(now, [scaled]);
  assert.equal(seen, [1000, 1000]);
});

test('advice grows at once, by no more than double, and falls only when less was wanted for a while', () => {
  const advice = new Advice();
  assert.ok(advice.take(10, 1, 100, 0));
  assert.is(advice.instances, 3);
  assert.ok(advice.take(10, 3, 100, 1000));
  assert.is(advice.instances, 7);
  assert.ok(advice.take(10, 7, 8, 2000));
  assert.is(advice.instances, 8, 'never more than the workload may have');
  for (let now = 3000; now < 33_000; now += 1000) {
    advice.take(now % 2000 === 0 ? 2 : 4, 8, 8, now);
    assert.is(advice.instances, 8, 'it does not flap');
  }
  assert.ok(advice.take(1, 8, 8, 33_000));
  assert.is(advice.instances, 4, 'what was wanted most meanwhile');
});

test.run();
