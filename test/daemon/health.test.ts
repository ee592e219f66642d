/** Health checks on a real node: roll-outs wait for them, containers that fail them are started again. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assertFailure, skerry } from '../support/cli.ts';
import { removeContainers, whyNoContainers } from '../support/container-node.ts';
import { healthPages } from '../support/health-pages.ts';
import { busyboxLayer, LayoutBuilder, layerOf } from '../support/image-builder.ts';
import { type Answer, ask, discard, type ProcessNode, startProcess } from '../support/test-node.ts';

const why = await whyNoContainers();
const health = suite('health on a node');

interface Scene {
  readonly node: ProcessNode;
  on(...args: string[]): ReturnType<typeof skerry>;
  /** Deploys `web`, whose page says `text`, run by this line. */
  deploy(text: string, line: string, ...flags: string[]): ReturnType<typeof skerry>;
  get(path: string): Promise<Answer>;
}

const test = (what: string, work: (scene: Scene) => Promise<void>) => {
  if (why !== null) {
    console.log(`skipped: ${what}, since ${why}`);
    return health.skip(what);
  }
  health(what, async () => {
    const place = mkdtempSync(join(tmpdir(), 'skerry-health-'));
    const node = await startProcess();
    const on = (...args: string[]) => skerry(args, { data: node.data });
    const deploy = (text: string, line: string, ...flags: string[]) => {
      const layout = new LayoutBuilder(join(place, text));
      layout.image([busyboxLayer(), layerOf(healthPages(text))], undefined, { Cmd: ['/bin/sh', '-c', line] });
      return on('deploy', `oci:${layout.folder}`, '--name', 'web', '--writable', '1MiB', ...flags);
    };
    try {
      await work({ node, on, deploy, get: (path) => ask(node.url, { path: `/web${path}` }) });
    } finally {
      await discard(node);
      await removeContainers(node.data);
      rmSync(place, { recursive: true, force: true });
    }
  });
};

const httpd = 'httpd -f -p 8080 -h /www';
const readyAfter = (seconds: number) => `(sleep ${seconds}; echo > /tmp/ready) & exec ${httpd}`;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await done()) return;
    await pause(50);
  }
  throw new Error(`it did not come to that: ${what}`);
}

test('a roll-out waits until the next revision is ready: no request is dropped, none reaches it before', async (scene) => {
  const check = ['--ready-check', 'http:/cgi-bin/ready'];
  const first = await scene.deploy('one', readyAfter(0.5), ...check);
  assert.is(first.status, 0, first.stderr);
  const seen: string[] = [];
  let over = false;
  const asking = (async () => {
    while (!over) {
      const { status, body } = await scene.get('/cgi-bin/page');
      seen.push(`${status} ${body}`);
    }
  })();
  try {
    const second = await scene.deploy('two', readyAfter(1.5), ...check);
    assert.is(second.status, 0, second.stderr);
    await until('the next one answers', async () => seen.at(-1) === '200 two');
    const never = await scene.deploy('three', httpd, ...check, '--start-timeout', '1s');
    assert.is(never.status, 1);
    assert.match(never.stderr, /http:\/cgi-bin\/ready failed: HTTP status 500: not ready; .* \[CONTAINER_NOT_READY\]/);
  } finally {
    over = true;
    await asking;
  }
  const turn = seen.indexOf('200 two');
  assert.ok(turn > 0);
  assert.equal([...new Set(seen.slice(0, turn))], ['200 one']);
  assert.equal([...new Set(seen.slice(turn))], ['200 two'], 'also while the third was not ready');
  assert.match((await scene.on('logs', 'web')).stdout, /was not ready within 1000 ms/);
});

test('a server that hangs is started again and serves, and the user is told why', async (scene) => {
  const line = `echo > /tmp/ready; ${httpd} & echo $! > /tmp/server; wait`;
  const flags = ['--min', '1', '--live-check', 'http:/index.html', '--live-every', '200ms'];
  const deployed = await scene.deploy('page', line, ...flags);
  assert.is(deployed.status, 0, deployed.stderr);
  const hung = await scene.on('exec', 'web', 'sh', '-c', 'kill -STOP $(cat /tmp/server)');
  assert.is(hung.status, 0, hung.stderr);
  const cut = await scene.get('/index.html');
  assert.is(cut.status, 502, cut.body.toString());
  assert.match(cut.body.toString(), /live-check failed 3 times in a row: no answer within 2000 ms/);
  let told = '';
  await until('it serves again', async () => {
    const { status, body } = await scene.get('/index.html');
    if (status === 503) told = body.toString();
    return status === 200;
  });
  assert.match(told, /live-check failed 3 times in a row/);
  const { revisions } = JSON.parse((await scene.on('inspect', 'web', '--json')).stdout);
  assert.is(revisions[0].ends.count, 1);
  assert.match(revisions[0].ends.message, /live-check failed/);
  const text = (await scene.on('inspect', 'web')).stdout;
  assert.match(text, /live check +http:\/index\.html, every 200ms/);
  assert.match(text, /1 ended, .*live-check failed/);
  const logs = (await scene.on('logs', 'web')).stdout;
  assert.match(logs, /the live-check failed, and is made again in 200 ms/);
  assert.match(logs, /it is ended, since its live-check failed/);
});

test('one that is never well is started again later and later, and ls says so', async (scene) => {
  const flags = ['--min', '1', '--live-check', 'command:echo broken; false', '--live-every', '100ms'];
  const deployed = await scene.deploy('page', httpd, ...flags);
  assert.is(deployed.status, 0, deployed.stderr);
  const ends = async () => {
    const { stdout } = await scene.on('logs', 'web', '--json');
    const records = stdout
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
    return records.filter(({ text }) => text.startsWith('it is ended')).map(({ time }) => Date.parse(time));
  };
  await until('it has ended three times', async () => (await ends()).length >= 3);
  const told = /web: .*live-check failed 3 times in a row: .*status 1; the last it said: broken/;
  await until('ls says why', async () => told.test((await scene.on('ls')).stdout));
  const [first = 0, second = 0, third = 0] = await ends();
  assert.ok(second - first >= 1000, 'one second');
  assert.ok(third - second >= 2000, 'then two');
});

test('what is no check is refused before anything is done, and export and apply keep those that are', async (scene) => {
  assertFailure(await scene.deploy('a', httpd, '--ready-check', 'ping'), 'BAD_FLAG', 2, /"http:\/PATH"/);
  assertFailure(await scene.deploy('b', httpd, '--live-every', '5s'), 'INVALID_SETTING', 1, /live-every/);
  const flags = ['--ready-check', 'tcp', '--live-check', 'command:true', '--live-every', '7s', '--max', '0'];
  const deployed = await scene.deploy('c', httpd, ...flags);
  assert.is(deployed.status, 0, deployed.stderr);
  const exported = JSON.parse((await scene.on('export', 'web', '--json')).stdout);
  const { 'ready-check': ready, 'live-check': live, 'live-every': every } = exported.workloads[0];
  assert.equal([ready, live, every], ['tcp', 'command:true', '7s']);
});

health.run();
