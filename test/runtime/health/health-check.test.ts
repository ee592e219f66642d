import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseHealthCheck } from '../../../runtime/health/health-check.ts';
import { revisionOf } from '../../../runtime/workload/revision-of.ts';
import { WorkloadSettings } from '../../../runtime/workload/settings.ts';

test('a check is a connection, a request or a command', () => {
  assert.equal(parseHealthCheck('tcp'), { kind: 'tcp', port: null });
  assert.equal(parseHealthCheck('tcp:9000'), { kind: 'tcp', port: 9000 });
  assert.equal(parseHealthCheck('http:/'), { kind: 'http', port: null, target: '/' });
  assert.equal(parseHealthCheck('http:9000/healthz?full=1'), { kind: 'http', port: 9000, target: '/healthz?full=1' });
  assert.equal(parseHealthCheck('command:pg_isready -q'), { kind: 'command', command: 'pg_isready -q' });
  assert.equal(parseHealthCheck('command:a\nb: c'), { kind: 'command', command: 'a\nb: c' });
});

test('what is none of them is refused, and the error says what is one', () => {
  const wrong = [
    ...['', 'tcp:', 'tcp:0', 'tcp:65536', 'tcp:http', 'tcp/', 'TCP', ' tcp', 'tcp\n', 'udp', 'true'],
    ...['http', 'http:', 'http:healthz', 'http:0/', 'http:65536/', 'http:99999999999/', 'http://host/', 'https:/'],
    ...['http:/a b', 'http:/a#b', 'http:/a\r\nHost: x', 'http:/ä', 'http:-1/'],
    ...[
      'command',
      'command:',
      'command: \t',
      'command:a\0b',
      `command:${'x'.repeat(5000)}`,
      `http:/${'x'.repeat(5000)}`,
    ],
  ];
  for (const text of wrong) {
    for (const key of ['ready-check', 'live-check']) {
      const { success, error } = WorkloadSettings.safeParse({ [key]: text });
      assert.not(success, JSON.stringify(text));
      assert.match(error!.issues[0]!.message, '"http:/PATH"');
    }
  }
  assert.not(WorkloadSettings.safeParse({ 'ready-check': 5 }).success);
});

const image = { digest: `sha256:${'a'.repeat(64)}`, mediaType: 'application/vnd.oci.image.manifest.v1+json' };
const component = { ...image, mediaType: 'application/wasm' };
const of = (settings: WorkloadSettings, artifact = image) =>
  revisionOf('w', artifact, 'w', settings, new Set(['wasm', 'container'] as const));

test('a revision has the checks that were said, and no trace of those that were not', () => {
  assert.not('readyCheck' in of({}));
  assert.not('liveCheck' in of({}));
  const checked = of({ 'ready-check': 'http:/ready', 'live-check': 'tcp' });
  assert.is(checked.readyCheck, 'http:/ready');
  assert.equal(checked.liveCheck, { check: 'tcp', everyMs: 10_000 });
  assert.is(of({ 'live-check': 'tcp', 'live-every': '250ms' }).liveCheck!.everyMs, 250);
  const ids = [of({}), checked, of({ 'live-check': 'tcp' }), of({ 'live-check': 'tcp', 'live-every': '1s' })];
  assert.is(new Set(ids.map(({ id }) => id)).size, 4);
});

test('a function is not asked, and how often is nothing without what', () => {
  for (const settings of [{ 'ready-check': 'tcp' }, { 'live-check': 'tcp' }, { 'live-every': '1s' }]) {
    assert.throws(
      () => of(settings, component),
      (error: { code: string; message: string }) =>
        error.code === 'INVALID_SETTING' && error.message.startsWith(Object.keys(settings)[0] as string),
    );
  }
  assert.throws(
    () => of({ 'live-every': '1s' }),
    (error: { code: string }) => error.code === 'INVALID_SETTING',
  );
  for (const every of ['99ms', '61m', 'often']) assert.not(WorkloadSettings.safeParse({ 'live-every': every }).success);
});

test.run();
