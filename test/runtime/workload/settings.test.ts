import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApplyFile } from '../../../runtime/workload/apply-file.ts';
import { revisionId } from '../../../runtime/workload/documents.ts';
import { revisionOf } from '../../../runtime/workload/revision-of.ts';
import { Route, WorkloadName, WorkloadSettings } from '../../../runtime/workload/settings.ts';
import { formatBytes, formatDuration, parseBytes, parseDuration } from '../../../runtime/workload/units.ts';

const artifact = { digest: `sha256:${'a'.repeat(64)}`, mediaType: 'application/wasm' };
const of = (settings: WorkloadSettings) => revisionOf('w', artifact, 'w', settings, new Set(['wasm'] as const));

test('names are DNS labels', () => {
  for (const name of ['a', 'a1', 'my-shop', '0', 'a'.repeat(63), 'a--b'])
    assert.ok(WorkloadName.safeParse(name).success, name);
  const bad = ['', '-a', 'a-', 'A', 'a.b', 'a_b', 'ä', 'a'.repeat(64), '../x', 'a/b', '0123456789ab--x', 'a\n'];
  for (const name of bad) assert.not(WorkloadName.safeParse(name).success, JSON.stringify(name));
});

test('routes are [HOST]/PATH with at most a last segment *', () => {
  const good = ['/', '/*', '/a', '/a/', '/a/*', 'example.com/', 'example.com/*', '/a/b.c/~x/%20', 'a-b.localhost/x'];
  for (const route of good) assert.ok(Route.safeParse(route).success, route);
  const bad = [
    '',
    'a',
    'example.com',
    '/a*',
    '/*/a',
    '/a/**',
    '/a b',
    '/a?x',
    '/a#x',
    'Example.com/',
    '-a.com/',
    '//a',
    'a:80/x',
  ];
  for (const route of [...bad, '/_skerry/x', '/_skerry', 'h.example/_skerry/healthz']) {
    assert.not(Route.safeParse(route).success, route);
  }
});

test('limits out of range and unknown keys are refused, and the key is named', () => {
  const wrong = {
    memory: ['0', '1KiB', '65GiB', 'lots', '-1MiB'],
    timeout: ['0s', '25h', '5', 'soon'],
    cpus: [0, 257, 'half'],
    concurrency: [0, 10_001, 1.5],
    priority: [-1, 10],
    queue: [-1],
    'max-request': ['-1', '2TiB', 'all'],
    'max-response': ['-1', '2TiB', 'all'],
    reuse: [0],
    min: [-1, 1001],
    idle: ['1ms'],
    env: [{ '1A': 'x' }, { A: 1 }, { A: 'x'.repeat(70_000) }],
    routes: [['nonsense']],
    secrets: [['1A'], ['a-b'], ['x'.repeat(129)], Array.from({ length: 65 }, (_, i) => `K${i}`), 'K'],
    allow: [['http://a'], ['a:0'], ['*'], ['127.1'], ['::1'], Array(257).fill('a'), 'a'],
    'keyvalue-quota': ['lots', '17GiB', '-1MiB'],
    colour: ['red'],
  };
  for (const [key, values] of Object.entries(wrong)) {
    for (const value of values) {
      const result = WorkloadSettings.safeParse({ [key]: value });
      assert.not(result.success, `${key}: ${JSON.stringify(value)}`);
      assert.match(JSON.stringify(result.error?.issues), key);
    }
  }
});

test('a file for apply names its workloads, and the shares of a split add up to 100', () => {
  const image = artifact.digest;
  const split = (...shares: number[]) => {
    const revisions = shares.map((traffic) => ({ image, traffic }));
    return ApplyFile.safeParse({ workloads: [{ name: 'a', revisions }] }).success;
  };
  assert.ok(split(100));
  assert.ok(split(90, 10));
  assert.ok(split(...Array<number>(10).fill(10)));
  for (const shares of [[], [90], [60, 50], [100, 0], [50.5, 49.5], [110, -10], Array<number>(11).fill(10)]) {
    assert.not(split(...shares), shares.join(' '));
  }
  assert.ok(ApplyFile.safeParse({ workloads: [] }).success, 'an export of an empty node');
  assert.not(ApplyFile.safeParse({}).success);
});

test('every workload has limits, set or not', () => {
  assert.equal(of({}).limits, {
    memoryBytes: 64 * 2 ** 20,
    cpuMillicores: 500,
    timeoutMs: 10_000,
    startTimeoutMs: 30_000,
    concurrency: 64,
    maxRequestBytes: 2 ** 30,
    maxResponseBytes: 2 ** 30,
  });
  assert.is(of({}).priority, 5);
  assert.is(of({}).reuse, 1);
  const set = of({
    memory: '1.5MiB',
    cpus: 0.25,
    timeout: '1500ms',
    'start-timeout': '2m',
    concurrency: 1,
    'max-request': '0B',
    'max-response': '5GiB',
  });
  assert.equal(set.limits, {
    memoryBytes: 1.5 * 2 ** 20,
    cpuMillicores: 250,
    timeoutMs: 1500,
    startTimeoutMs: 120_000,
    concurrency: 1,
    maxRequestBytes: 0,
    maxResponseBytes: 5 * 2 ** 30,
  });
});

test('a revision is named by all that it is made of, and by nothing else', () => {
  assert.match(of({}).id, /^[0-9a-f]{12}$/);
  assert.is(
    of({ env: { A: '1', B: '2' } }).id,
    of({ env: { B: '2', A: '1' } }).id,
    'the order of keys is no difference',
  );
  assert.is(of({ routes: ['/x'], min: 3, queue: 1 }).id, of({}).id, 'what belongs to the workload is not in it');
  const lists = { secrets: ['B', 'A'], allow: ['b.test', 'a.test:80'] };
  const same = { secrets: ['A', 'B', 'A'], allow: ['A.TEST.:80', 'b.test', 'B.test'] };
  assert.is(of(lists).id, of(same).id, 'nor is the order of secrets and destinations, or how they are written');
  const services = [{ secrets: ['A'] }, { allow: ['a.test'] }, { 'keyvalue-quota': '1MiB' }];
  assert.is(new Set([...services, {}].map((settings) => of(settings).id)).size, 4);
  const different = [{ env: { A: '2' } }, { memory: '32MiB' }, { reuse: 2 }, { priority: 6 }, { timeout: '9s' }, {}];
  assert.is(new Set(different.map((settings) => of(settings).id)).size, different.length);
  const { id, createdAt, label, decision, decidedFrom, ...content } = of({});
  assert.is(revisionId(content), id);
});

test('sizes and times are read and written back', () => {
  assert.is(parseBytes('64MiB'), 64 * 2 ** 20);
  assert.is(parseBytes('1.5GB'), 1.5e9);
  assert.is(parseBytes('12'), 12);
  assert.is(parseBytes('1 KiB'), 1024);
  for (const text of ['', 'MiB', '1XiB', '1e3', '-1', '1.2.3B']) assert.is(parseBytes(text), null, text);
  assert.is(parseDuration('500ms'), 500);
  assert.is(parseDuration('1.5s'), 1500);
  for (const text of ['', '5', 's', '1d', '-1s']) assert.is(parseDuration(text), null, text);
  for (const text of ['1GiB', '64MiB', '1KiB', '12B']) assert.is(formatBytes(parseBytes(text)!), text);
  for (const text of ['1h', '2m', '5s', '1500ms']) assert.is(formatDuration(parseDuration(text)!), text);
});

test.run();
