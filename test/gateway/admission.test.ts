/** Admission as clients meet it: real listener, dispatcher and scheduler over workloads that the test steers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Admission } from '../../runtime/scheduler/admission/admission.ts';
import type { Discipline } from '../../runtime/scheduler/admission/discipline.ts';
import { ControlPlane } from '../support/control-plane.ts';
import { type Gate, type Guest, gate } from '../support/fake-driver.ts';

async function withNode(admission: Admission, work: (plane: ControlPlane) => Promise<void>): Promise<void> {
  const plane = await (await ControlPlane.start(undefined, admission)).serve();
  try {
    await work(plane);
  } finally {
    await plane.close();
  }
}

/** Notes who ran; `/hold` keeps its place until the gate opens. */
function noting(ran: string[], hold: Gate): Guest {
  return async ({ target, reply, priority }) => {
    ran.push(target);
    if (target === '/hold') await hold.opened;
    reply.send(200, [], Buffer.from(String(priority)));
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('where the node is full the more urgent workload is served first, and a sandbox hears how urgent it is', () =>
  withNode(new Admission({ concurrency: 1 }), async (plane) => {
    const ran: string[] = [];
    const hold = gate();
    await plane.settledDeploy('low', 'l', { priority: 1 }, noting(ran, hold));
    await plane.settledDeploy('high', 'h', { priority: 8 }, noting(ran, hold));
    const answers = [plane.get('/low/hold')];
    await plane.driver.until(() => ran.length === 1);
    for (const path of ['/low/a', '/low/b', '/high/c']) {
      answers.push(plane.get(path));
      while (plane.admission.waiting < answers.length - 1) await turn();
    }
    hold.open();
    const texts = (await Promise.all(answers)).map(({ text }) => text);
    assert.equal(ran, ['/hold', '/c', '/a', '/b']);
    assert.equal(texts, ['1', '1', '1', '8']);
    assert.is(plane.admission.running, 0);
  }));

test('what the node as a whole cannot queue is answered 503 with Retry-After', () =>
  withNode(new Admission({ concurrency: 1, queue: 1 }), async (plane) => {
    const ran: string[] = [];
    const hold = gate();
    await plane.settledDeploy('one', '1', {}, noting(ran, hold));
    await plane.settledDeploy('two', '2', {}, noting(ran, hold));
    const answers = [plane.get('/one/hold'), plane.get('/two/a')];
    while (plane.admission.waiting < 1) await turn();
    const refused = await plane.get('/two/b');
    assert.is(refused.status, 503);
    assert.is(JSON.parse(refused.text).code, 'NODE_FULL');
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
    hold.open();
    for (const { status } of await Promise.all(answers)) assert.is(status, 200);
  }));

test('a workload that is removed while requests wait for it: each of them is answered', () =>
  withNode(new Admission({ concurrency: 1 }), async (plane) => {
    const hold = gate();
    await plane.settledDeploy('stays', 's', {}, noting([], hold));
    await plane.settledDeploy('goes', 'g', {}, noting([], hold));
    const holding = plane.get('/stays/hold');
    while (plane.admission.running < 1) await turn();
    const waiting = [1, 2, 3].map(() => plane.get('/goes/x'));
    while (plane.admission.waiting < 3) await turn();
    await plane.desired.remove('goes');
    hold.open();
    assert.is((await holding).status, 200);
    for (const { status } of await Promise.all(waiting)) assert.ok(status === 200 || status === 503, String(status));
    assert.is(plane.admission.waiting, 0);
    assert.is(plane.admission.running, 0);
  }));

for (const [discipline, order] of [
  ['fcfs', ['/hold', '/long', '/short']],
  ['sjf', ['/hold', '/short', '/long']],
] as const satisfies readonly (readonly [Discipline, readonly string[]])[]) {
  test(`${discipline}: in the order of ${order.join(', ')}, by what the routes took before`, () =>
    withNode(new Admission({ discipline }), async (plane) => {
      const ran: string[] = [];
      const hold = gate();
      const guest = noting(ran, hold);
      await plane.settledDeploy('work', 'w', { concurrency: 1 }, async (exchange, instance) => {
        if (exchange.target === '/long') await new Promise((resolve) => setTimeout(resolve, 30));
        await guest(exchange, instance);
      });
      for (let i = 0; i < 6; i++) for (const path of ['/work/long', '/work/short']) await plane.get(path);
      ran.length = 0;
      const answers = [plane.get('/work/hold')];
      while (ran.length < 1) await turn();
      for (const path of ['/work/long', '/work/short']) {
        answers.push(plane.get(path));
        while (plane.admission.waiting < answers.length - 1) await turn();
      }
      hold.open();
      await Promise.all(answers);
      assert.equal(ran, order);
    }));
}

test.run();
