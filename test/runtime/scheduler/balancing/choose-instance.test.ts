import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Candidate, chooseInstance } from '../../../../runtime/scheduler/balancing/choose-instance.ts';
import { chooseNode } from '../../../../runtime/scheduler/balancing/choose-node.ts';
import { ServiceRecord } from '../../../../runtime/scheduler/balancing/service-record.ts';
import { chooseSeed, randomFrom } from '../../../support/random.ts';

const random = randomFrom(chooseSeed('balancing'));

class Instance implements Candidate {
  inFlight = 0;
  paused = false;
  readonly record = new ServiceRecord();
}

function fleet(count: number): Instance[] {
  return Array.from({ length: count }, () => new Instance());
}

function choose(instances: readonly Instance[], running: number, now = 0, concurrency = 64): Instance {
  return chooseInstance(instances, { running, concurrency, now, random })!;
}

test('requests one after the other all go to the first instance, so that the others can rest', () => {
  const instances = fleet(5);
  for (let i = 0; i < 200; i++) {
    const chosen = choose(instances, 1, i);
    assert.is(chosen, instances[0]);
    chosen.record.succeeded(5 + random(), i);
  }
});

test('a first instance that is slow is left for a quick one, and asked again when that is long ago', () => {
  const instances = fleet(2);
  instances[0]!.record.succeeded(100, 0);
  instances[1]!.record.succeeded(10, 0);
  assert.is(choose(instances, 1), instances[1]);
  // Both fade; the quick one is measured on.
  for (let now = 0; now <= 60_000; now += 100) instances[1]!.record.succeeded(10, now);
  assert.is(choose(instances, 1, 60_000), instances[0]);
});

test('an instance is never given more than it may have while another one has room', () => {
  const instances = fleet(6);
  for (let running = 1; running <= 18; running++) {
    const chosen = choose(instances, running, 0, 3);
    chosen.inFlight++;
    assert.ok(chosen.inFlight <= 3);
  }
  assert.equal(
    instances.map(({ inFlight }) => inFlight),
    [3, 3, 3, 3, 3, 3],
  );
});

test('an instance that thaws first is taken only when the others have enough to do', () => {
  const instances = fleet(2);
  for (const { record } of instances) record.succeeded(10, 0);
  instances[0]!.paused = true;
  assert.is(choose(instances, 2), instances[1], 'a warm one when both are idle');
  instances[1]!.inFlight = 1;
  assert.is(choose(instances, 3), instances[0], 'the other has enough to do');
});

test('one that fails in a row gets nothing, then one request to show that it is well', () => {
  const instances = fleet(3);
  const sick = instances[0]!;
  for (let i = 0; i < 4; i++) sick.record.failed(0);
  assert.not(sick.record.ejected, 'four failures may be the clients’ fault');
  sick.record.failed(0);
  assert.ok(sick.record.ejected);
  for (let i = 0; i < 100; i++) assert.is.not(choose(instances, 10, 4999), sick);
  assert.ok(sick.record.takes(0, 5000), 'half open');
  assert.not(sick.record.takes(1, 5000), 'one at a time');
  sick.record.failed(5000);
  assert.not(sick.record.takes(0, 14_999), 'twice as long');
  sick.record.succeeded(1, 15_000);
  assert.ok(sick.record.takes(7, 15_000));
});

test('when all fail, requests are given to them all the same', () => {
  const instances = fleet(3);
  for (const { record } of instances) for (let i = 0; i < 5; i++) record.failed(0);
  assert.ok(instances.includes(choose(instances, 5, 1)));
  assert.is(chooseInstance([], { running: 1, concurrency: 1, now: 0, random }), undefined);
});

test('a time that is no number changes nothing', () => {
  const { record } = new Instance();
  record.succeeded(10, 0);
  record.succeeded(Number.NaN, 0);
  record.succeeded(-5, 0);
  assert.is(record.latencyMs(0), 10);
  // A clock that goes back does not make it grow.
  assert.is(record.latencyMs(-1000), 10);
});

test('of eight instances one is ten times slower: the slow one is hardly used', () => {
  const instances = fleet(8);
  const counts = instances.map(() => 0);
  const ends: { at: number; i: number; ms: number }[] = [];
  let now = 0;
  for (let n = 0; n < 5000; n++) {
    now += 1;
    for (let at = ends.findIndex((end) => end.at <= now); at >= 0; at = ends.findIndex((end) => end.at <= now)) {
      const { i, ms } = ends.splice(at, 1)[0]!;
      instances[i]!.inFlight--;
      instances[i]!.record.succeeded(ms, now);
    }
    const i = instances.indexOf(choose(instances, ends.length + 1, now));
    counts[i]!++;
    instances[i]!.inFlight++;
    const ms = (i === 3 ? 50 : 5) * (0.5 + random());
    ends.push({ at: now + ms, i, ms });
  }
  assert.ok(counts[3]! < 5000 * 0.03, String(counts));
});

test('a request stays on this node unless another one is sooner by more than the way is worth', () => {
  const near = { rttMs: 2, waitMs: 0, reachable: true };
  const far = { rttMs: 200, waitMs: 0, reachable: true };
  assert.is(chooseNode(0, [near], random), null);
  assert.is(chooseNode(3, [near], random), null);
  assert.is(chooseNode(50, [near, far], random), near);
  assert.is(chooseNode(50, [{ ...near, waitMs: 60 }, far], random), null);
  assert.is(chooseNode(50, [{ ...near, reachable: false }], random), null);
  assert.is(chooseNode(500, [], random), null);
});

test.run();
