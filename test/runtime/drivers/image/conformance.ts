/** What an image can rely on, in whichever sandbox it runs: the same tests over each driver that runs images. */
import * as assert from 'uvu/assert';
import type { Instance } from '../../../../runtime/driver.ts';
import type { RevisionDocument } from '../../../../runtime/workload/documents.ts';
import type { WorkloadSettings } from '../../../../runtime/workload/settings.ts';
import type { RunConfig } from '../../../support/container-node.ts';
import { makeExchange } from '../../../support/exchange.ts';
import { failure } from '../../../support/failure.ts';
import { type BuiltLayer, busyboxLayer, layerOf } from '../../../support/image-builder.ts';
import { file, folder } from '../../../support/tar-writer.ts';

/** A driver over a folder of its own. */
export interface ImageNode {
  readonly driver: { check(revision: RevisionDocument, label: string, progress: () => void): Promise<void> };
  revision(layers: readonly BuiltLayer[], config: RunConfig, settings?: WorkloadSettings): Promise<RevisionDocument>;
  start(revision: RevisionDocument): Promise<Instance>;
  log(workload: string): Promise<string>;
  /** What there is of sandboxes on the host. */
  left(): string[];
}

/** In which the drivers differ. */
export interface Kind {
  /** Codes of their own. */
  readonly codes: { readonly notListening: string; readonly ended: string };
  /** Memory in which an image runs that will ask for more. */
  readonly smallMemory: string;
  /** In which a sandbox starts, and not what is in it. */
  readonly startTimeout: string;
}

export const pages = layerOf([folder('www/'), file('www/index.html', 'hello from inside\n')]);
export const httpd: RunConfig = {
  Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'],
  ExposedPorts: { '8080/tcp': {} },
};
export const shell = (script: string): RunConfig => ({ Cmd: ['/bin/sh', '-c', script] });

export async function up(
  node: ImageNode,
  config: RunConfig = httpd,
  settings: WorkloadSettings = {},
): Promise<Instance> {
  return node.start(await node.revision([busyboxLayer(), pages], config, settings));
}

export async function get(instance: Instance, target = '/'): Promise<{ status: number; body: string }> {
  const { exchange, answer } = makeExchange({ target, deadlineMs: 60_000 });
  await instance.handle(exchange);
  const { status, body } = await answer;
  return { status, body: body.toString() };
}

export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for what is on its way into a log. */
export async function logged(node: ImageNode, { revision }: Instance, text: RegExp): Promise<string> {
  for (let i = 0; ; i++) {
    const found = await node.log(revision.workload);
    if (text.test(found) || i === 100) return found;
    await pause(50);
  }
}

export function conformance(
  test: (what: string, work: (node: ImageNode) => Promise<void>) => void,
  { codes, smallMemory, startTimeout }: Kind,
): void {
  test('an image answers HTTP, and nothing of it is left when it was stopped', async (node) => {
    const instance = await up(node);
    assert.equal(await get(instance), { status: 200, body: 'hello from inside\n' });
    assert.is((await get(instance, '/gone')).status, 404);
    assert.is(node.left().length, 1);
    await instance.stop(1000);
    assert.is((await instance.exited).reason, 'stopped');
    assert.equal(node.left(), []);
  });

  test('what it writes is in the log of its workload', async (node) => {
    const script = 'echo to stdout; echo to stderr >&2; printf unfinished; exec httpd -f -p 8080 -h /www';
    const text = await logged(node, await up(node, shell(script)), /to stderr/);
    assert.match(text, /to stdout/);
    assert.match(text, /to stderr/);
  });

  test("the environment is the image's and the revision's, and the port is told", async (node) => {
    const config = { ...shell('env > /tmp/env; exec httpd -f -p $PORT -h /tmp'), Env: ['A=image', 'B=image'] };
    const instance = await up(node, config, { env: { B: 'revision' }, port: 8123, writable: '1MiB' });
    const { body } = await get(instance, '/env');
    assert.match(body, /^A=image$/m);
    assert.match(body, /^B=revision$/m);
    assert.match(body, /^PORT=8123$/m);
    assert.match(body, /^PATH=\/usr/m);
  });

  test('a user that the image names is the one it runs as', async (node) => {
    const config = { ...shell('id > /tmp/id; exec httpd -f -p 8080 -h /tmp'), User: 'nobody' };
    const instance = await up(node, config, { writable: '1MiB' });
    assert.match((await get(instance, '/id')).body, /uid=65534.* gid=65534/);
    assert.is((await failure(up(node, { ...httpd, User: 'who' }))).code, 'IMAGE_USER_UNKNOWN');
  });

  test('one that is paused answers the next request', async (node) => {
    const instance = await up(node);
    await get(instance);
    await instance.pause();
    assert.equal(await get(instance), { status: 200, body: 'hello from inside\n' });
  });

  test('what a layer hides of those below is not seen; what an image has can be removed, and made again', async (node) => {
    const below = layerOf([folder('data/'), file('data/old', 'old\n'), folder('data/sub/'), file('data/sub/x', '')]);
    const above = layerOf([folder('data/'), file('data/.wh..wh..opq', ''), file('data/new', 'new\n'), folder('more/')]);
    const script =
      'cd /; ls /data; busybox rm -r /data && busybox mkdir -p /data/sub && ls /data; cat /data/old; echo mine > /www/index.html; busybox rm -r /www && busybox mkdir /www && ls /www; echo end';
    const config = shell(`(${script}) > /tmp/said 2>&1; exec httpd -f -p 8080 -h /tmp`);
    const instance = await node.start(
      await node.revision([busyboxLayer(), pages, below, above], config, { writable: '1MiB' }),
    );
    const said = "new\nsub\ncat: can't open '/data/old': No such file or directory\nend\n";
    assert.is((await get(instance, '/said')).body, said);
  });

  test('its root is not to be written to, and with leave only up to a size', async (node) => {
    const look = '(echo x > /new || echo no) 2>/dev/null';
    const much = '(busybox dd if=/dev/zero of=/much bs=1024 count=3000 || echo full) 2>/dev/null';
    const script = `${look}; ${much}; exec httpd -f -p 8080 -h /www`;
    assert.match(await logged(node, await up(node, shell(script)), /full/), /^no\nfull$/m);
    const other = await logged(node, await up(node, shell(script), { writable: '2MiB' }), /full/);
    assert.match(other, /^full$/m);
    assert.not.match(other, /^no$/m);
  });

  test('one that never listens is told, with what it said, and nothing is left', async (node) => {
    const late = up(node, shell('echo going to sleep; sleep 600'), { 'start-timeout': startTimeout });
    const error = await failure(late);
    assert.is(error.code, codes.notListening);
    assert.match(error.message, /8080/);
    assert.equal(node.left(), []);
  });

  test('one that ends at once is told with its status and its last words', async (node) => {
    const error = await failure(up(node, shell('echo no configuration; exit 3')));
    assert.is(error.code, codes.ended);
    assert.match(error.message, /status 3; the last it said: no configuration/);
    assert.equal(node.left(), []);
  });

  test('a command that is not there, and an image without one, are told', async (node) => {
    assert.is((await failure(up(node, { Cmd: ['/bin/nothing'] }))).code, 'COMMAND_MISSING');
    const silent = await node.revision([busyboxLayer()], {});
    assert.is((await failure(node.driver.check(silent, 'silent', () => {}))).code, 'IMAGE_NO_COMMAND');
    assert.equal(node.left(), []);
  });

  test('one that takes more memory than it may ends alone, and is told as that', async (node) => {
    const instance = await up(node);
    // It asks for a little more each time: what is too much at once is only refused.
    const script = shell('httpd -p 8080 -h /www; sleep 0.3; exec busybox tail /dev/zero');
    const greedy = await up(node, script, { memory: smallMemory });
    assert.is((await greedy.exited).reason, 'out-of-memory');
    assert.is((await get(instance)).status, 200, 'another one goes on');
  });

  test('one that hears the signal to stop has the time to end well', async (node) => {
    const script = shell(
      'trap "echo ending well; exit 0" TERM; httpd -p 8080 -h /www; while true; do sleep 0.05; done',
    );
    const polite = await up(node, script);
    await polite.stop(20_000);
    assert.match(await node.log(polite.revision.workload), /ending well/);
  });

  test('one that ignores the signal to stop is ended when its time is over', async (node) => {
    const instance = await up(node, shell('trap "" TERM; httpd -p 8080 -h /www; while true; do sleep 1; done'));
    await instance.stop(300);
    assert.equal(node.left(), []);
  });

  test('one that forks without end is ended, all of it', async (node) => {
    const instance = await up(node, shell('httpd -p 8080 -h /www; f() { f | f & }; f; sleep 60'));
    await pause(200);
    await instance.stop(0);
    assert.equal(node.left(), []);
  });

  test('what it uses is told', async (node) => {
    const instance = await up(node);
    await get(instance);
    await pause(2200);
    const { requests, memoryBytes, cpuMs, startMs } = instance.stats();
    assert.is(requests, 1);
    assert.ok(memoryBytes > 0 && cpuMs > 0 && startMs > 0);
  });

  test('a further process runs inside, with its own streams and status, and is ended with whoever asked', async (node) => {
    const instance = await up(node, httpd, { env: { A: 'b' } });
    const { PassThrough } = await import('node:stream');
    const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
    streams.stdin.end('typed');
    const running = instance.exec(['sh', '-c', 'cat; echo $A >&2; exit 4'], streams, new AbortController().signal);
    assert.is(await running, 4);
    assert.is(String(streams.stdout.read()), 'typed');
    assert.is(String(streams.stderr.read()), 'b\n');
    const abort = new AbortController();
    const quiet = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
    const endless = instance.exec(['sleep', '1000'], quiet, abort.signal);
    setTimeout(() => abort.abort(), 200);
    assert.is(await endless, 137);
  });
}
