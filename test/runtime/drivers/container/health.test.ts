/** Containers that are ready late or never, and such that are not well any more. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../../errors/skerry-error.ts';
import type { Instance } from '../../../../runtime/driver.ts';
import type { WorkloadSettings } from '../../../../runtime/workload/settings.ts';
import { ContainerNode, whyNoContainers } from '../../../support/container-node.ts';
import { makeExchange } from '../../../support/exchange.ts';
import { healthPages } from '../../../support/health-pages.ts';
import { busyboxLayer, layerOf } from '../../../support/image-builder.ts';

const why = await whyNoContainers();
const containers = suite('health of containers');
const test = (what: string, work: (node: ContainerNode) => Promise<void>) => {
  if (why !== null) {
    console.log(`skipped: ${what}, since ${why}`);
    return containers.skip(what);
  }
  containers(what, async () => {
    const node = await ContainerNode.open();
    try {
      await work(node);
    } finally {
      await node.close();
    }
  });
};

const httpd = 'httpd -f -p 8080 -h /www';

async function up(node: ContainerNode, script: string, settings: WorkloadSettings): Promise<Instance> {
  const config = { Cmd: ['/bin/sh', '-c', script] };
  return node.start(
    await node.revision([busyboxLayer(), layerOf(healthPages('page'))], config, { writable: '1MiB', ...settings }),
  );
}

async function get(instance: Instance, target: string): Promise<{ status: number; text: string }> {
  const { exchange, answer } = makeExchange({ target });
  await instance.handle(exchange);
  const { status, body } = await answer;
  return { status, text: body.toString() };
}

async function failure(work: Promise<unknown>): Promise<SkerryError> {
  return work.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: SkerryError) => error,
  );
}

/** What a command inside writes. */
async function inside(instance: Instance, line: string): Promise<string> {
  const { PassThrough, Readable } = await import('node:stream');
  const stdout = new PassThrough();
  const streams = { stdin: Readable.from([]), stdout, stderr: new PassThrough() };
  await instance.exec(['/bin/sh', '-c', line], streams, new AbortController().signal);
  return String(stdout.read() ?? '');
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

for (const check of ['http:/cgi-bin/ready', 'command:test -e /tmp/ready']) {
  test(`one that listens is not ready before ${check} says so`, async (node) => {
    const script = `(sleep 1; echo > /tmp/ready) & exec ${httpd}`;
    const instance = await up(node, script, { 'ready-check': check });
    assert.equal(await get(instance, '/cgi-bin/page'), { status: 200, text: 'page' });
  });
}

test('one that listens late is ready when it does, also on a port that only the check asks', async (node) => {
  const late = await up(node, `sleep 1; exec ${httpd}`, { 'ready-check': 'http:/index.html' });
  assert.is((await get(late, '/index.html')).status, 200);
  const script = `httpd -p 8080 -h /www; sleep 0.5; exec httpd -f -p 9000 -h /www`;
  for (const check of ['tcp:9000', 'http:9000/index.html']) await up(node, script, { 'ready-check': check });
});

test('one that is not ready in time has failed, with what its check said last; nothing is left', async (node) => {
  for (const [check, said, timeout = '700ms'] of [
    ['http:/cgi-bin/ready', /HTTP status 500: not ready/],
    ['command:echo no database; exit 4', /status 4; the last it said: no database/, '4s'],
    ['command:no-such-program', /status 127; .*no-such-program/, '4s'],
    ['command:sleep 60', /no answer within/],
    ['tcp:9000', /port 9000 takes no connection/],
  ] as const) {
    const error = await failure(up(node, httpd, { 'ready-check': check, 'start-timeout': timeout }));
    assert.is(error.code, 'CONTAINER_NOT_READY', error.message);
    assert.match(error.message, said);
    assert.ok(error.message.includes(check));
    assert.match(await node.log(error.what.split(' ')[0] as string), said);
  }
  assert.equal(node.left(), []);
});

test('one that ends while it is asked is told as that', async (node) => {
  const error = await failure(up(node, 'echo no licence; sleep 0.3; exit 9', { 'ready-check': 'command:sleep 60' }));
  assert.is(error.code, 'CONTAINER_ENDED');
  assert.match(error.message, /status 9; the last it said: no licence/);
});

for (const [check, said] of [
  ['http:/index.html', /live-check failed 3 times in a row: no answer within 2000 ms/],
  ['command:test -e /tmp/hung && { echo it hangs; exit 1; } || exit 0', /3 times in a row: .*status 1.*it hangs/],
] as const) {
  test(`one that hangs is ended when ${check.split(' ')[0]} has failed three times, and says why`, async (node) => {
    const script = `${httpd} & echo $! > /tmp/server; wait`;
    const instance = await up(node, script, { 'live-check': check, 'live-every': '100ms' });
    await pause(500);
    assert.is((await get(instance, '/index.html')).status, 200, 'it is well');
    await inside(instance, 'kill -STOP $(cat /tmp/server); echo > /tmp/hung');
    const cut = failure(get(instance, '/index.html'));
    const { reason, message } = await instance.exited;
    assert.is(reason, 'failed');
    assert.match(message, said);
    assert.is((await cut).status, 502, 'as when it had crashed');
    assert.is((await failure(get(instance, '/index.html'))).status, 503);
    assert.match(await node.log(instance.revision.workload), said);
    assert.equal(node.left(), []);
  });
}

test('a command that hangs is killed with all it has started, and is a failure', async (node) => {
  const check = 'command:test -e /tmp/hang || exit 0; sleep 600; true';
  const instance = await up(node, `${httpd}`, { 'live-check': check, 'live-every': '100ms' });
  await inside(instance, 'echo > /tmp/hang');
  // Between two checks there is the server alone; one of them hangs for 2 seconds.
  const sleeping = () => inside(instance, 'ps | grep -c "[s]leep 600"');
  let most = 0;
  let exited = false;
  void instance.exited.then(() => {
    exited = true;
  });
  while (!exited) {
    most = Math.max(most, Number(await sleeping().catch(() => '0')));
    await pause(100);
  }
  assert.is(most, 2, 'the shell and its sleep, and none of those before');
  assert.match((await instance.exited).message, /no answer within 2000 ms/);
});

test('two failures are none when the third is well', async (node) => {
  const check = 'command:n=$(cat /tmp/n 2>/dev/null || echo 0); echo $((n + 1)) > /tmp/n; [ $((n % 3)) = 2 ]';
  const instance = await up(node, httpd, { 'live-check': check, 'live-every': '100ms' });
  let count = 0;
  while (count < 9) {
    await pause(100);
    count = Number(await inside(instance, 'cat /tmp/n'));
  }
  assert.is((await get(instance, '/index.html')).status, 200);
});

test('a paused one is not asked, nor held to what it was asked when it was paused', async (node) => {
  const check = 'command:echo >> /tmp/n; sleep 0.5';
  const instance = await up(node, httpd, { 'live-check': check, 'live-every': '100ms' });
  const count = async () => (await inside(instance, 'cat /tmp/n')).length;
  while ((await count()) < 1) await pause(50);
  for (let i = 0; i < 4; i++) {
    const before = await count();
    await instance.pause();
    await pause(1500);
    assert.ok((await count()) - before < 2);
  }
  await instance.pause();
  assert.is((await get(instance, '/index.html')).status, 200);
  const before = await count();
  while ((await count()) === before) await pause(50);
});

test('a request that comes as it is paused is answered', async (node) => {
  const instance = await up(node, httpd, { 'live-check': 'command:sleep 0.2', 'live-every': '100ms' });
  for (let i = 0; i < 20; i++) {
    const pausing = instance.pause();
    await pause(i * 3);
    const [answer] = await Promise.all([get(instance, '/index.html'), pausing]);
    assert.is(answer.status, 200);
  }
});

test('one that a killed node left is asked by the next', async (node) => {
  const script = `${httpd} & echo $! > /tmp/server; wait`;
  const settings = { writable: '1MiB', 'live-check': 'command:test ! -e /tmp/hung', 'live-every': '100ms' };
  const layers = [busyboxLayer(), layerOf(healthPages('page'))];
  const revision = await node.revision(layers, { Cmd: ['/bin/sh', '-c', script] }, settings);
  const first = await node.start(revision);
  // So that the node of before, which is not dead here, asks no more.
  await first.pause();
  await node.driver.close();
  const next = await ContainerNode.open(node.folder);
  await next.driver.recover(() => true);
  const second = await next.start(revision);
  assert.is(second.id, first.id);
  await inside(second, 'echo > /tmp/hung');
  assert.is((await second.exited).reason, 'failed');
  assert.equal(next.left(), []);
});

test('one that is stopped while it is asked is stopped, once', async (node) => {
  const check = { 'live-check': 'command:sleep 1.9; exit 1', 'live-every': '100ms' };
  const instance = await up(node, httpd, check);
  await pause(400);
  await instance.stop(1000);
  assert.is((await instance.exited).reason, 'stopped');
  assert.equal(node.left(), []);
});

containers.run();
