import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LatencyHistogram, PROMETHEUS_BOUNDS_MS } from '../../../runtime/monitor/latency-histogram.ts';

const of = (...durations: number[]) => {
  const histogram = new LatencyHistogram();
  for (const ms of durations) histogram.observe(ms);
  return histogram;
};

test('each duration is counted up to the bounds that it does not pass; one on a bound is within it', () => {
  const { upTo, count } = of(0, 0.5, 0.6, 10, 30_000, 31_000).cumulative();
  const upToMs = (ms: number) => upTo[PROMETHEUS_BOUNDS_MS.indexOf(ms)];
  assert.is(upTo.length, PROMETHEUS_BOUNDS_MS.length);
  assert.equal([0.5, 1, 5, 10, 10_000, 30_000].map(upToMs), [2, 3, 3, 4, 4, 5]);
  assert.is(count, 6);
});

test('a percentile is told to within 15 %, whatever the size of the durations', () => {
  for (const scale of [0.1, 0.7, 3, 40, 900, 7000]) {
    const histogram = of(...Array.from({ length: 1000 }, (_, i) => scale * (1 + i / 1000)));
    for (const share of [0.5, 0.9, 0.99]) {
      const exact = scale * (1 + share);
      const told = histogram.quantile(share)!;
      assert.ok(Math.abs(told - exact) < 0.15 * exact, `${share} of ${scale}: ${told} for ${exact}`);
    }
  }
});

test('a percentile can be that of a time alone', () => {
  const histogram = of(...new Array(100).fill(5000));
  const before = histogram.copy();
  assert.is(histogram.quantile(0.5, before), null);
  for (let i = 0; i < 10; i++) histogram.observe(1);
  assert.ok(histogram.quantile(0.99, before)! <= 1);
  assert.ok(histogram.quantile(0.5)! > 2500);
});

test('without a duration there is no percentile', () => {
  assert.is(of().quantile(0.5), null);
});

test.run();
