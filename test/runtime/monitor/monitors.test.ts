/** What each kind of monitor sees in a load, and what it makes of input that is no good. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DemandMonitor } from '../../../runtime/monitor/learned/demand-monitor.ts';
import { Forecaster } from '../../../runtime/monitor/learned/forecaster.ts';
import { routeKey, ServiceTimes } from '../../../runtime/monitor/learned/service-times.ts';
import type { LoadMonitor, LoadSample } from '../../../runtime/monitor/load-sample.ts';
import { QueueMonitor } from '../../../runtime/monitor/model/queue-monitor.ts';
import { breakingRate, erlangC, expectedWaitMs } from '../../../runtime/monitor/model/queueing.ts';
import { SurgeMonitor } from '../../../runtime/monitor/statistical/surge-monitor.ts';
import { chooseSeed, randomFrom } from '../../support/random.ts';

const random = randomFrom(chooseSeed('monitors'));

const quiet: LoadSample = {
  at: 0,
  windowMs: 1000,
  arrivals: 10,
  waitMs: 0,
  serviceMs: 10,
  serviceScv: 1,
  instances: 1,
  concurrency: 1,
  objectiveMs: 100,
};

function watch(monitor: LoadMonitor, samples: readonly Partial<LoadSample>[], from = 0) {
  return samples.map((sample, i) => monitor.observe({ ...quiet, at: (from + i + 1) * 1000, ...sample }));
}

test('statistical: a steady load is nothing of note, a surge is', () => {
  const monitor = new SurgeMonitor();
  const steady = Array.from({ length: 60 }, () => ({ arrivals: 8 + Math.floor(random() * 5) }));
  assert.ok(watch(monitor, steady).every((finding) => finding === null));
  const [surge] = watch(monitor, [{ arrivals: 60, instances: 2 }], 60);
  assert.is(surge?.monitor, 'statistical');
  assert.ok(surge!.instances! >= 3 && surge!.instances! <= 8, String(surge!.instances));
  assert.ok(surge!.sure > 0 && surge!.sure <= 1);
  assert.match(surge!.sees, /60\.0 requests\/s/);
});

test('model: Erlang C and Allen-Cunneen as in the books', () => {
  assert.ok(Math.abs(erlangC(1, 0.5) - 0.5) < 1e-12, 'M/M/1 waits with the probability of its load');
  assert.ok(Math.abs(erlangC(2, 1) - 1 / 3) < 1e-12);
  assert.is(erlangC(3, 3), 1);
  const queue = { rate: 50, serviceMs: 10, arrivalScv: 1, serviceScv: 1, servers: 1 };
  assert.ok(Math.abs(expectedWaitMs(queue) - 10) < 1e-9, 'M/M/1 at half load waits one service time');
  assert.ok(Math.abs(expectedWaitMs({ ...queue, serviceScv: 0 }) - 5) < 1e-9, 'M/D/1 half of that');
  assert.is(expectedWaitMs({ ...queue, rate: 100 }), Number.POSITIVE_INFINITY);
  assert.ok(Math.abs(breakingRate(queue, 10) - 50) < 1e-6);
});

test('model: says before the queue builds up how many instances are needed, and when reality is another', () => {
  const monitor = new QueueMonitor();
  const [fine] = watch(monitor, [{ arrivals: 20 }]);
  assert.is(fine, null);
  const findings = watch(
    monitor,
    Array.from({ length: 20 }, () => ({ arrivals: 95 })),
    1,
  );
  assert.is(findings.at(-1)?.instances, 2);
  const held = watch(
    monitor,
    Array.from({ length: 40 }, () => ({ arrivals: 20, waitMs: 400 })),
    30,
  );
  assert.is(held.at(-1)?.monitor, 'model');
  assert.is(held.at(-1)?.instances, null, 'more instances would not help');
});

test('learned: requests of a timer are expected before they come, when that is better than the naive forecast', () => {
  const monitor = new DemandMonitor();
  const found: number[] = [];
  for (let minute = 0; minute < 200; minute++) {
    for (const second of [20, 50]) {
      const arrivals = second === 20 && minute % 10 === 3 ? 4 : 0;
      const at = minute * 60_000 + second * 1000;
      const finding = monitor.observe({ ...quiet, at, arrivals, windowMs: 1000 });
      if (finding?.instances && second === 50) found.push(minute);
      if (minute > 150 && minute % 10 === 7) assert.is(finding?.instances, 0, 'nothing is to come');
    }
  }
  const late = found.filter((minute) => minute >= 150);
  assert.ok(
    [152, 162, 172, 182, 192].every((minute) => late.includes(minute)),
    `the minute before: ${late}`,
  );
  assert.ok(!late.includes(156) && !late.includes(187), String(late));
});

test('learned: what cannot be forecast is not', () => {
  const forecaster = new Forecaster([10, 60]);
  let level = 50;
  for (let i = 0; i < 600; i++) {
    // A random walk: the last value is the best forecast that there is.
    level = Math.max(0, level + random() * 10 - 5);
    forecaster.learn(level);
  }
  assert.is(forecaster.forecast(), null);
  assert.ok(forecaster.errors.forecast >= forecaster.errors.naive);
});

test('learned: a daily load is forecast with an interval that holds most of what comes', () => {
  const forecaster = new Forecaster([24]);
  let within = 0;
  for (let hour = 0; hour < 24 * 30; hour++) {
    const value = 100 + 60 * Math.sin((hour / 24) * 2 * Math.PI) + (random() + random() + random() - 1.5) * 20;
    const forecast = forecaster.forecast();
    if (hour >= 24 * 20) {
      assert.ok(forecast);
      if (value >= forecast!.low && value <= forecast!.high) within++;
    }
    forecaster.learn(value);
  }
  assert.ok(within > 240 * 0.8 && within < 240, String(within));
  assert.ok(forecaster.errors.forecast < forecaster.errors.naive * 0.9);
});

test('learned: what a route takes, by its path; without routes that differ the mean of all', () => {
  assert.is(routeKey('/orders/17/x'), routeKey('/orders/4/x'));
  assert.is.not(routeKey('/orders/17'), routeKey('/users/17'));
  const times = new ServiceTimes();
  assert.is(times.expect(routeKey('/short')), 0);
  for (let i = 0; i < 200; i++) {
    times.observe(routeKey('/short'), 1 + random());
    times.observe(routeKey('/long'), 100 + random());
  }
  assert.ok(times.trusted);
  assert.ok(times.expect(routeKey('/short')) < 3);
  assert.ok(times.expect(routeKey('/long')) > 90);
  assert.ok(times.expect(routeKey('/never-seen')) > 10, 'as all');
});

test('what is no number, and clocks that jump, leave every monitor as it was', () => {
  for (const monitor of [new SurgeMonitor(), new QueueMonitor(), new DemandMonitor()]) {
    watch(
      monitor,
      Array.from({ length: 40 }, () => ({})),
    );
    const bad: Partial<LoadSample>[] = [
      { arrivals: Number.NaN },
      { arrivals: -1 },
      { windowMs: 0 },
      { waitMs: Number.POSITIVE_INFINITY },
      { at: Number.NaN },
      { serviceMs: -3 },
      { at: -1e15 },
      { at: 1e15 },
    ];
    assert.ok(watch(monitor, bad, 41).every((finding) => finding === null));
    watch(
      monitor,
      Array.from({ length: 40 }, () => ({})),
      50,
    );
  }
  const times = new ServiceTimes();
  times.observe(3, Number.NaN);
  times.observe(3, -1);
  assert.is(times.expect(3), 0);
  const forecaster = new Forecaster([5]);
  for (let i = 0; i < 100; i++) forecaster.learn(i % 5 === 0 ? Number.NaN : 3);
  assert.ok(Number.isFinite(forecaster.errors.forecast));
});

test.run();
