import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { prometheusRegistry } from '../../../runtime/monitor/prometheus.ts';
import { type ControlPlane, withPlane } from '../../support/control-plane.ts';
import { says } from '../../support/fake-driver.ts';

type Samples = ReadonlyMap<string, number>;

function registryOf({ monitor, admission, reconciler: { memory }, decisions }: ControlPlane) {
  return prometheusRegistry(monitor, { admission, memory, decisions });
}

async function scrape(plane: ControlPlane): Promise<Samples> {
  const text = await registryOf(plane).metrics();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

/** Counters of the workload `a`. */
function counters(samples: Samples): Map<string, number> {
  return new Map(
    [...samples].filter(([name]) => /_(total|count|sum|bucket)\{/.test(name) && name.includes('workload="a"')),
  );
}

test('requests are counted by workload and outcome', async () => {
  await withPlane(async (plane) => {
    plane.monitor.observe('a', 1, null);
    plane.monitor.observe('a', 1, null);
    plane.monitor.observe('a', 1, 'FUNCTION_TRAPPED');
    plane.monitor.observe('b', 1, 'QUEUE_FULL');
    const seen = await scrape(plane);
    assert.is(seen.get('skerry_requests_total{workload="a",outcome="ok"}'), 2);
    assert.is(seen.get('skerry_requests_total{workload="a",outcome="FUNCTION_TRAPPED"}'), 1);
    assert.is(seen.get('skerry_requests_total{workload="b",outcome="QUEUE_FULL"}'), 1);
  });
});

test('the latency histogram is cumulative, in seconds', async () => {
  await withPlane(async (plane) => {
    for (const ms of [0, 0.5, 0.6, 10, 30_000, 31_000]) plane.monitor.observe('a', ms, null);
    const seen = await scrape(plane);
    const bucket = (le: string) => seen.get(`skerry_request_duration_seconds_bucket{workload="a",le="${le}"}`);
    assert.equal(['0.0005', '0.001', '0.005', '0.01', '30', '+Inf'].map(bucket), [2, 3, 3, 4, 5, 6]);
    assert.is(seen.get('skerry_request_duration_seconds_count{workload="a"}'), 6);
    assert.is(seen.get('skerry_request_duration_seconds_sum{workload="a"}')?.toFixed(4), '61.0111');
  });
});

test('a workload tells its CPU time, peak memory, starts, and what is in flight', async () => {
  await withPlane(async (plane) => {
    await plane.settledDeploy('a', 'one');
    await plane.get('/a');
    await plane.get('/a');
    const seen = await scrape(plane);
    // What the fake driver says of itself: a cold start, a millisecond of CPU and one of making for each request.
    assert.is(seen.get('skerry_workload_cpu_seconds_total{workload="a"}'), 0.002);
    assert.is(seen.get('skerry_workload_memory_peak_bytes{workload="a"}'), 1024);
    assert.is(seen.get('skerry_workload_sandboxes_total{workload="a",start="cold"}'), 2);
    assert.is(seen.get('skerry_workload_sandboxes_total{workload="a",start="warm"}'), 0);
    assert.is(seen.get('skerry_workload_start_seconds_total{workload="a"}'), 0.002);
    assert.is(seen.get('skerry_workload_instances{workload="a"}'), 1);
    assert.is(seen.get('skerry_requests_in_flight{workload="a"}'), 0);
    assert.is(seen.get('skerry_requests_queued{workload="a"}'), 0);
    assert.is(seen.get('skerry_kept_memory_bytes'), 0);
    assert.is(seen.get('skerry_node_requests_running'), 0);
    assert.is(seen.get('skerry_node_requests_waiting'), 0);
    assert.is(seen.get('skerry_node_memory_claimed_bytes'), 0);
    assert.is(seen.get('skerry_node_memory_ceiling_bytes'), plane.reconciler.memory.totalBytes);
    plane.decisions.add('a', 'scaling', 'one more', {});
    assert.is((await scrape(plane)).get('skerry_decisions_total{kind="scaling"}'), 1);
  });
});

test('no counter goes down in a roll-out, a rollback or when instances end, nor when revisions are forgotten', async () => {
  await withPlane(async (plane) => {
    let before = new Map<string, number>();
    const check = async (what: string) => {
      const now = counters(await scrape(plane));
      for (const [name, value] of before) assert.ok((now.get(name) ?? -1) >= value, `${what}: ${name} fell`);
      before = now;
    };
    // More than are kept, so that the first ones are forgotten.
    for (let revision = 0; revision < 13; revision++) {
      const instances = plane.driver.instances.length;
      await plane.settledDeploy('a', `revision ${revision}`, {}, says('x'));
      await check(`deploy ${revision}`);
      await plane.get('/a');
      if (instances > 0) await plane.driver.happened('stopped', instances);
      await check(`request ${revision}`);
    }
    assert.is(before.get('skerry_workload_sandboxes_total{workload="a",start="cold"}'), 13);
    assert.is(before.get('skerry_workload_cpu_seconds_total{workload="a"}')?.toFixed(3), '0.013');
    await plane.desired.scale('a', undefined, 0);
    await plane.settled('a');
    await plane.driver.happened('stopped', 13);
    await check('parked');
  });
});

test('a removed workload is not told of any more', async () => {
  await withPlane(async (plane) => {
    await plane.settledDeploy('a', 'one');
    await plane.get('/a');
    await plane.desired.remove('a');
    await plane.driver.until(() => plane.removed.includes('a'));
    assert.not([...(await scrape(plane)).keys()].some((name) => name.includes('workload="a"')));
  });
});

test.run();
