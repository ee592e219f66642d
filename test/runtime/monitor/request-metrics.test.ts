import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RequestMetrics } from '../../../runtime/monitor/request-metrics.ts';

function samples(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

test('requests are counted by workload and outcome', () => {
  const metrics = new RequestMetrics();
  metrics.observe('a', 1, null);
  metrics.observe('a', 1, null);
  metrics.observe('a', 1, 'FUNCTION_TRAPPED');
  metrics.observe('b', 1, 'QUEUE_FULL');
  const seen = samples(metrics.render([]));
  assert.is(seen.get('skerry_requests_total{workload="a",outcome="ok"}'), 2);
  assert.is(seen.get('skerry_requests_total{workload="a",outcome="FUNCTION_TRAPPED"}'), 1);
  assert.is(seen.get('skerry_requests_total{workload="b",outcome="QUEUE_FULL"}'), 1);
});

test('the latency histogram is cumulative, and a time on a bound is in it', () => {
  const metrics = new RequestMetrics();
  for (const ms of [0, 0.5, 0.6, 10, 30_000, 31_000]) metrics.observe('a', ms, null);
  const seen = samples(metrics.render([]));
  const bucket = (le: string) => seen.get(`skerry_request_duration_seconds_bucket{workload="a",le="${le}"}`);
  assert.is(bucket('0.0005'), 2);
  assert.is(bucket('0.001'), 3);
  assert.is(bucket('0.005'), 3);
  assert.is(bucket('0.01'), 4);
  assert.is(bucket('30'), 5);
  assert.is(bucket('+Inf'), 6);
  assert.is(seen.get('skerry_request_duration_seconds_count{workload="a"}'), 6);
  assert.is(seen.get('skerry_request_duration_seconds_sum{workload="a"}')?.toFixed(4), '61.0111');
});

test('gauges are those of now, and a forgotten workload is not told of any more', () => {
  const metrics = new RequestMetrics();
  metrics.observe('a', 1, null);
  const gauge = { workload: 'a', inFlight: 2, queued: 3, cpuMs: 1500, memoryBytes: 4096 };
  const seen = samples(metrics.render([gauge]));
  assert.is(seen.get('skerry_requests_in_flight{workload="a"}'), 2);
  assert.is(seen.get('skerry_requests_queued{workload="a"}'), 3);
  assert.is(seen.get('skerry_workload_cpu_seconds_total{workload="a"}'), 1.5);
  assert.is(seen.get('skerry_workload_memory_bytes{workload="a"}'), 4096);
  metrics.forget('a');
  assert.is(samples(metrics.render([])).size, 0);
});

test.run();
