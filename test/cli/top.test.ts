import * as assert from 'uvu/assert';
import type { UsageSample } from '../../gateway/admin/schemas.ts';
import { assertFailure, skerry } from '../support/cli.ts';
import { fakeNodeSuite } from '../support/fake-node-suite.ts';

const test = fakeNodeSuite('top');

const workload = (name: string, changes: Partial<UsageSample['workloads'][number]> = {}) => ({
  name,
  requestsPerSecond: 0,
  errorsPerSecond: 0,
  p50Ms: null,
  p99Ms: null,
  cpuPercent: 0,
  memoryPeakBytes: 0,
  inFlight: 0,
  queued: 0,
  coldStarts: 0,
  warmStarts: 0,
  total: { requests: 0, errors: 0, p50Ms: null, p99Ms: null, cpuMs: 0, coldStarts: 0, warmStarts: 0, startMs: 0 },
  ...changes,
});

const busy = workload('busy', {
  requestsPerSecond: 1234.5,
  errorsPerSecond: 0.5,
  p50Ms: 0.84,
  p99Ms: 12.4,
  cpuPercent: 63.4,
  memoryPeakBytes: 3 * 2 ** 20,
  inFlight: 4,
  queued: 2,
  coldStarts: 1000,
  warmStarts: 234,
  total: { ...workload('').total, requests: 5000, errors: 7 },
});

const sample: UsageSample = {
  time: '2026-01-31T12:00:00.000Z',
  windowMs: 1000,
  node: {
    requestsPerSecond: 1234.5,
    errorsPerSecond: 0.5,
    cpuPercent: 97.6,
    memoryBytes: 120 * 2 ** 20,
    keptBytes: 20 * 2 ** 20,
    inFlight: 4,
    queued: 2,
  },
  workloads: [workload('idle'), busy],
};

test('top prints one sample where stdout is no terminal: the node, then the busiest first', async ({ start }) => {
  const node = await start({ 'GET /v1/usage': () => sample });
  const { status, stdout, stderr } = await skerry(['top'], { data: node.data });
  assert.is(status, 0);
  assert.is(stderr, '');
  assert.is(
    stdout,
    `node: 1235 requests/s, 98% CPU, memory 120MiB (20MiB kept warm), 4 in flight, 2 queued

NAME  REQ/S  P50     P99   CPU  MEMORY  IN FLIGHT  QUEUED  COLD  WARM  ERR/S  REQUESTS  ERRORS
busy  1235   0.84ms  12ms  63%  3MiB    4          2       1000  234   0.5    5000      7
idle  0      -       -     0%   0B      0          0       0     0     0      0         0
`,
  );
  assert.is(node.requests[0]!.url, '/v1/usage?windowMs=1000');
  assert.is(node.requests.length, 1);
});

test('top --json prints one sample and ends, also on a terminal', async ({ start }) => {
  const node = await start({ 'GET /v1/usage': () => sample });
  for (const tty of [true, false]) {
    const { status, stdout } = await skerry(['top', '--json', '--interval', '250ms'], { data: node.data, tty });
    assert.is(status, 0);
    assert.equal(JSON.parse(stdout), sample);
  }
  assert.ok(node.requests.every(({ url }) => url === '/v1/usage?windowMs=250'));
});

test('on a terminal top goes on until Ctrl-C, and gives the screen back with the last sample on it', async ({
  start,
}) => {
  const node = await start({ 'GET /v1/usage': () => sample });
  const interrupt = new AbortController();
  let samples = 0;
  const { status, stdout, stderr } = await skerry(['top', '--interval', '100ms'], {
    data: node.data,
    tty: true,
    interrupt: interrupt.signal,
    onOutput: () => {
      samples++;
      if (samples === 3) interrupt.abort();
    },
  });
  assert.is(status, 0);
  assert.is(stderr, '');
  assert.ok(stdout.startsWith('\u001b[?1049h'), 'a screen of its own');
  const [live, after] = stdout.split('\u001b[?1049l');
  assert.is(live!.split('node: ').length - 1, 3);
  assert.match(after!, /busy/);
});

test('a node that goes away ends top with one line, on the screen that was there before', async ({ start }) => {
  let asked = 0;
  const node = await start({
    'GET /v1/usage': (_request, response) => {
      asked++;
      if (asked === 1) return sample;
      response.destroy();
      return undefined;
    },
  });
  const { status, stdout, stderr } = await skerry(['top'], { data: node.data, tty: true });
  assert.is(status, 1);
  assert.ok(stdout.includes('\u001b[?1049l'));
  assert.match(stderr, /CONNECTION_LOST/);
});

test('--interval takes a time', async ({ start }) => {
  const node = await start({});
  for (const interval of ['1', 'soon', '10ms', '2m']) {
    const result = await skerry(['top', '--interval', interval], { data: node.data });
    assertFailure(result, 'BAD_FLAG', 2, /--interval: must be a time/);
  }
});

test.run();
