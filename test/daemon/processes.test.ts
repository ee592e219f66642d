/** `skerry run`, `ps`, `stop`, `exec`, `logs`, `rm`: images as processes on a real node, as users type it. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import { assertFailure, skerry } from '../support/cli.ts';
import { containersOf, removeContainers, whyNoContainers } from '../support/container-node.ts';
import { busyboxLayer, LayoutBuilder, layerOf } from '../support/image-builder.ts';
import { file, folder } from '../support/tar-writer.ts';
import { ask, discard, type ProcessNode, startProcess } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

interface Scene {
  readonly place: string;
  readonly image: string;
  node: ProcessNode;
}

const why = await whyNoContainers();
const processes = suite<Scene>('processes');
const test = (what: string, work: (scene: Scene) => Promise<void>) => testUnless(processes, why, what, work);

processes.before(async (scene) => {
  if (why !== null) return;
  const place = mkdtempSync(join(tmpdir(), 'skerry-processes-'));
  const layout = new LayoutBuilder(join(place, 'layout'));
  const pages = layerOf([folder('www/'), file('www/index.html', 'a page\n')]);
  layout.image([busyboxLayer(), pages], 'v1', {
    Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'],
    ExposedPorts: { '8080/tcp': {} },
  });
  Object.assign(scene, { place, image: `oci:${layout.folder}:v1`, node: await startProcess() });
});
processes.after(async ({ place, node }) => {
  if (why !== null) return;
  await discard(node);
  await removeContainers(node.data);
  rmSync(place, { recursive: true, force: true });
});

/** A command with this as its stdin, its output as bytes. */
function typed(scene: Scene, args: readonly string[], input: string | Buffer = '') {
  const child = spawn(process.execPath, [join(projectRoot, 'bin/skerry.js'), ...args], {
    env: { ...process.env, NODE_OPTIONS: '', SKERRY_DATA: scene.node.data },
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const pieces = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout.on('data', (piece) => pieces.stdout.push(piece));
  child.stderr.on('data', (piece) => pieces.stderr.push(piece));
  const ended = new Promise<{ status: number | string | null; stdout: Buffer; stderr: string }>((resolve) =>
    child.once('close', (code, signal) =>
      resolve({
        status: code ?? signal,
        stdout: Buffer.concat(pieces.stdout),
        stderr: Buffer.concat(pieces.stderr).toString(),
      }),
    ),
  );
  return { child, ended, said: () => Buffer.concat(pieces.stdout).toString() };
}

async function until(what: string, done: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await done()); tries++) {
    assert.ok(tries < 300, `${what} within 15 s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const on = ({ node }: Scene, ...args: string[]) => skerry(args, { data: node.data });

async function view(scene: Scene, name: string) {
  const { processes: all } = JSON.parse((await on(scene, 'ps', '-a', '--json')).stdout);
  return all.find((each: { name: string }) => each.name === name);
}

test('run: what it writes comes apart, its status is the command’s, its options are its own', async (scene) => {
  const script = 'printf "%s|" "$@"; echo to stderr >&2; exit 7';
  const args = ['run', '--name', 'first', '--env', 'A=b', scene.image, 'sh', '-c', script, '--', '-n', '--name', 'x'];
  const { status, stdout, stderr } = await typed(scene, args).ended;
  // On a busy machine the upload takes long enough to be told.
  const said = stderr.replace(/^Uploading [^\n]*\n/, '');
  assert.equal([status, stdout.toString(), said], [7, '-n|--name|x|', 'to stderr\n']);
  const first = await view(scene, 'first');
  assert.equal([first.state, first.exitStatus, first.message], ['exited', 7, 'it exited with status 7']);
  assert.match((await on(scene, 'ps', '-a')).stdout, /^first +oci:\S+ +sh -c .* +exited \(7\)/m);
  assert.not.match((await on(scene, 'ps')).stdout, /first/);
  assert.match((await on(scene, 'logs', 'first')).stdout, /err +to stderr\n/);
  assert.match((await on(scene, 'inspect', 'first')).stdout, /ended +it exited with status 7/);
  assert.is((await on(scene, 'rm', 'first')).status, 0);
  assert.is(await view(scene, 'first'), undefined);
  assertFailure(await on(scene, 'logs', 'first'), 'NO_WORKLOAD', 1, /first/);
});

test('run: megabytes of any bytes pass through it and exec, none lost, none changed', async (scene) => {
  const bytes = randomBytes(8_000_000);
  const run = await typed(scene, ['run', '--rm', scene.image, 'cat'], bytes).ended;
  assert.ok(run.stdout.equals(bytes), `${run.stdout.length} bytes, ${run.stderr}`);
  await on(scene, 'run', '-d', '--name', 'pipe', scene.image);
  const exec = await typed(scene, ['exec', 'pipe', 'cat'], bytes).ended;
  assert.ok(exec.stdout.equals(bytes), `${exec.stdout.length} bytes, ${exec.stderr}`);
  assert.is(exec.status, 0);
  assert.is((await on(scene, 'rm', 'pipe')).status, 0);
});

test('run -d prints the name and leaves it running; stop ends it, what has ended stays until rm', async (scene) => {
  assert.is((await on(scene, 'run', '-d', '--name', 'My_Web.1', scene.image)).stdout, 'My_Web.1\n');
  assert.match((await on(scene, 'ps')).stdout, /^My_Web\.1 +oci:\S+ +- +running/m);
  const made = (await on(scene, 'run', '-d', scene.image, 'sleep', '1000')).stdout.trim();
  assert.match(made, /^layout-[0-9a-f]{6}$/);
  const stopped = await on(scene, 'stop', 'My_Web.1', made);
  assert.equal([stopped.status, stopped.stdout], [0, `My_Web.1\n${made}\n`]);
  assert.is((await view(scene, 'My_Web.1')).exitStatus, 137);
  assert.is((await on(scene, 'rm', 'My_Web.1', made)).status, 0);
  assert.equal(await containersOf(scene.node.data), []);
});

test('a process that listens to its signal ends by itself', async (scene) => {
  const script = 'trap "echo bye; exit 5" TERM; echo ready; while true; do sleep 0.05; done';
  await on(scene, 'run', '-d', '--name', 'gentle', scene.image, 'sh', '-c', script);
  await until('it is ready', async () => /ready/.test((await on(scene, 'logs', 'gentle')).stdout));
  assert.is((await on(scene, 'stop', 'gentle')).status, 0);
  assert.is((await view(scene, 'gentle')).exitStatus, 5);
  assert.match((await on(scene, 'logs', 'gentle')).stdout, /bye/);
  await on(scene, 'rm', 'gentle');
});

test('a signal to the command reaches the process that it shows', async (scene) => {
  const script = 'trap "echo caught; exit 9" INT; echo ready; while true; do sleep 0.05; done';
  const running = typed(scene, ['run', '--rm', scene.image, 'sh', '-c', script]);
  await until('it is ready', () => running.said().includes('ready'));
  running.child.kill('SIGINT');
  const { status, stdout } = await running.ended;
  assert.equal([status, stdout.toString()], [9, 'ready\ncaught\n']);
});

test('exec: stdin, stdout, stderr and status are raw; it is held as its container is', async (scene) => {
  await on(scene, 'run', '-d', '--name', 'host', '--env', 'A=b c', scene.image);
  const script =
    'read line; echo "got $line $A"; echo oops >&2; grep -E "Seccomp:|NoNewPrivs|CapBnd" /proc/self/status; exit 3';
  const { status, stdout, stderr } = await typed(scene, ['exec', 'host', 'sh', '-c', script], 'a line\n').ended;
  assert.equal([status, stderr], [3, 'oops\n']);
  assert.is(stdout.toString(), 'got a line b c\nCapBnd:\t00000000000004fb\nNoNewPrivs:\t1\nSeccomp:\t2\n');
  const missing = await typed(scene, ['exec', 'host', 'no-such-program']).ended;
  assert.is(missing.status, 127);
  assert.match(missing.stderr, /no-such-program/);
  assertFailure(await on(scene, 'exec', 'nobody', 'ls'), 'NO_WORKLOAD', 1, /nobody/);
  await on(scene, 'stop', 'host');
  assertFailure(await on(scene, 'exec', 'host', 'ls'), 'NOT_RUNNING', 1, /host/);
  await on(scene, 'rm', 'host');
});

test('exec: when the client leaves, what it ran is ended, and the container goes on', async (scene) => {
  await on(scene, 'run', '-d', '--name', 'left', scene.image);
  const running = typed(scene, ['exec', 'left', 'sh', '-c', 'echo here; exec sleep 987']);
  await until('it runs', () => running.said().includes('here'));
  const sleeping = async () =>
    (await typed(scene, ['exec', 'left', 'sh', '-c', 'cat /proc/[0-9]*/cmdline']).ended).stdout.includes(
      'sleep\x00987',
    );
  assert.ok(await sleeping());
  running.child.kill('SIGKILL');
  await until('it is gone', async () => !(await sleeping()));
  assert.is((await view(scene, 'left')).state, 'running');
  await on(scene, 'rm', 'left');
});

test('exec in a workload that is deployed; a function has none', async (scene) => {
  const deployed = await on(scene, 'deploy', scene.image, '--name', 'web');
  assert.is(deployed.status, 0, deployed.stderr);
  const { stdout } = await typed(scene, ['exec', 'web', 'sh', '-c', 'read page < /www/index.html; echo $page']).ended;
  assert.is(stdout.toString(), 'a page\n');
  await scene.node.admin.deploy('fn');
  assertFailure(await on(scene, 'exec', 'fn', 'ls'), 'NOT_FOR_WASM', 1, /exec/);
});

test('names are one space; what cannot run is told and leaves nothing', async (scene) => {
  assertFailure(await on(scene, 'run', '--name', 'web', scene.image), 'NAME_TAKEN', 1, /workload web/);
  await on(scene, 'run', '-d', '--name', 'taken', scene.image);
  assertFailure(await on(scene, 'run', '-d', '--name', 'taken', scene.image), 'NAME_TAKEN', 1, /process taken/);
  assertFailure(await on(scene, 'deploy', scene.image, '--name', 'taken'), 'NAME_TAKEN', 1, /process taken/);
  await on(scene, 'rm', 'taken');
  for (const flags of [['-d'], []]) {
    assertFailure(
      await on(scene, 'run', ...flags, '--name', 'no', scene.image, '/no/such'),
      'COMMAND_MISSING',
      1,
      /no\/such/,
    );
  }
  assertFailure(await on(scene, 'run', '--name', 'a/b', scene.image), 'BAD_FLAG', 2, /--name/);
  assertFailure(await on(scene, 'run', '--isolation', 'wasm', scene.image), 'ISOLATION_UNFIT', 1, /container image/);
  assertFailure(await on(scene, 'stop', 'none'), 'NO_PROCESS', 1, /none/);
  assert.is(await view(scene, 'no'), undefined);
});

test('how it ended is told when its conmon was killed', async (scene) => {
  await on(scene, 'run', '-d', '--name', 'alone', scene.image, 'sh', '-c', 'sleep 2; exit 4');
  const words = (pid: string) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  const conmon = readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .find((pid) => /conmon$/.test(words(pid)[0]!) && words(pid).some((word) => word.startsWith('alone-')));
  process.kill(Number(conmon), 'SIGKILL');
  await until('it has ended', async () => (await view(scene, 'alone')).state === 'exited');
  assert.match((await view(scene, 'alone')).message, /conmon, which watched it, had been killed/);
  await on(scene, 'rm', 'alone');
});

test('one that runs out of memory is told as that', async (scene) => {
  const hog = 'x=a; while true; do x=$x$x; done';
  const { status } = await typed(scene, ['run', '--name', 'hog', '--memory', '16MiB', scene.image, 'sh', '-c', hog])
    .ended;
  assert.is(status, 137);
  assert.match((await view(scene, 'hog')).message, /out of memory/);
  await on(scene, 'rm', 'hog');
});

const sh = (scene: Scene, name: string, script: string) => typed(scene, ['exec', name, 'sh', '-c', script]).ended;

test('--rm forgets it when it has ended, whether the command is still there or not', async (scene) => {
  assert.is((await on(scene, 'run', '-d', '--rm', '--name', 'brief', scene.image, 'sh', '-c', 'sleep 0.3')).status, 0);
  await until('it is forgotten', async () => (await view(scene, 'brief')) === undefined);
  const running = typed(scene, ['run', '--rm', '--name', 'cut', scene.image, 'sh', '-c', 'echo here; sleep 1']);
  await until('it runs', () => running.said().includes('here'));
  running.child.kill('SIGKILL');
  await until('it is forgotten', async () => (await view(scene, 'cut')) === undefined);
});

test('a command line that no process can have is refused', async (scene) => {
  await on(scene, 'run', '-d', '--name', 'words', scene.image);
  const nul = await scene.node.admin.call('POST', '/v1/processes', {
    ...{ artifact: { digest: `sha256:${'a'.repeat(64)}`, mediaType: 'x' }, label: 'x', settings: {} },
    arguments: ['a\0b'],
  });
  assert.equal([nul.status, nul.json().code], [400, 'INVALID_REQUEST']);
  assertFailure(await on(scene, 'exec', 'words', ''), 'INVALID_REQUEST', 1, /begin with a program/);
  await on(scene, 'rm', 'words');
});

test('a volume outlives its containers, is shared by those that have it, and holds no more than its size', async (scene) => {
  const fill =
    'echo kept > /data/file; while echo "a line to fill it with" ; do :; done > /data/fill 2> /dev/null; echo full';
  const first = ['run', '--rm', '--volume', 'store:/data:16MiB', scene.image, 'sh', '-c', fill];
  assert.is((await typed(scene, first).ended).stdout.toString(), 'full\n');
  const [full] = JSON.parse((await on(scene, 'volume', 'ls', '--json')).stdout).volumes;
  assert.equal([full.name, full.bytes, full.usedBy], ['store', 16 * 2 ** 20, []]);
  assert.ok(full.usedBytes <= 17 * 2 ** 20, `${full.usedBytes} bytes of the disk`);
  await on(scene, 'run', '-d', '--name', 'one', '--volume', 'store:/data', scene.image);
  await on(scene, 'run', '-d', '--name', 'two', '--volume', 'store:/other', scene.image);
  assert.is(
    (await sh(scene, 'one', 'read x < /data/file; echo $x; rm /data/fill; echo new > /data/page')).stdout.toString(),
    'kept\n',
  );
  assert.is(
    (await sh(scene, 'two', 'read x < /other/page; echo $x; echo /other/*')).stdout.toString(),
    'new\n/other/file /other/page\n',
  );
  const [shared] = JSON.parse((await on(scene, 'volume', 'ls', '--json')).stdout).volumes;
  assert.equal(shared.usedBy, ['one', 'two']);
  assertFailure(await on(scene, 'volume', 'rm', 'store'), 'VOLUME_WANTED', 1, /one/);
  await on(scene, 'rm', 'one', 'two');
  assert.is((await on(scene, 'volume', 'rm', 'store')).status, 0);
  assertFailure(await on(scene, 'volume', 'rm', 'store'), 'NO_VOLUME', 1, /store/);
  assert.not.match(readFileSync('/proc/self/mountinfo', 'utf8'), /\/volumes\//);
});

test('what a container leaves in a volume leads nowhere: links stay inside of whoever follows them', async (scene) => {
  const leave = 'ln -s /proc/1/root/etc /data/etc; ln -s ../../../.. /data/up; chmod u+s /data 2> /dev/null; echo done';
  await typed(scene, ['run', '--rm', '--volume', 'links:/data', scene.image, 'sh', '-c', leave]).ended;
  await on(scene, 'run', '-d', '--name', 'reader', '--volume', 'links:/data', scene.image);
  const { stdout } = await sh(scene, 'reader', 'echo /data/up/*');
  assert.not.match(stdout.toString(), /home|var|srv/, 'the root that it leads to is the container’s');
  await on(scene, 'rm', 'reader');
  await on(scene, 'volume', 'rm', 'links');
});

test('volumes that cannot be are refused, each with its reason', async (scene) => {
  const refused = async (volume: string, code: string, pattern: RegExp, status = 1) =>
    assertFailure(await on(scene, 'run', '--rm', '--volume', volume, scene.image, 'true'), code, status, pattern);
  for (const text of [
    'x',
    'x:relative',
    '../x:/a',
    'x:/',
    'x:/proc',
    'x:/proc/sys',
    'x:/a/../dev',
    'x:/a:1KiB',
    'x:/a:5',
  ]) {
    await refused(text, 'BAD_FLAG', /NAME:\/PATH/, 2);
  }
  await on(scene, 'run', '--rm', '--volume', 'small:/a:8MiB', scene.image, 'true');
  await refused('small:/a:9MiB', 'VOLUME_SIZE', /8MiB, not 9MiB/);
  await on(scene, 'volume', 'rm', 'small');
  const both = await on(scene, 'run', '--rm', '--volume', 'a:/x', '--volume', 'a:/y', scene.image, 'true');
  assertFailure(both, 'INVALID_SETTING', 1, /twice/);
});

test('a workload with a volume keeps what it wrote from one revision to the next', async (scene) => {
  await on(scene, 'deploy', scene.image, '--name', 'kept', '--volume', 'pages:/www/data');
  await sh(scene, 'kept', 'echo written by the first > /www/data/page');
  await on(scene, 'deploy', scene.image, '--name', 'kept', '--volume', 'pages:/www/data', '--memory', '64MiB');
  assert.is((await ask(scene.node.url, { path: '/kept/data/page' })).body.toString(), 'written by the first\n');
  const exported = await on(scene, 'export', 'kept');
  assert.match(exported.stdout, /volumes:\n\s+- pages:\/www\/data/);
  assert.is((await on(scene, 'apply', '-f', join(scene.place, 'kept.yaml'))).status, 1, 'there is no such file yet');
  writeFileSync(join(scene.place, 'kept.yaml'), exported.stdout);
  assert.match((await on(scene, 'apply', '-f', join(scene.place, 'kept.yaml'))).stdout, /unchanged/);
  await on(scene, 'deploy', scene.image, '--name', 'kept');
  assertFailure(await on(scene, 'volume', 'rm', 'pages'), 'VOLUME_WANTED', 1, /kept/);
  await on(scene, 'rollback', 'kept');
  assert.is((await ask(scene.node.url, { path: '/kept/data/page' })).body.toString(), 'written by the first\n');
  await on(scene, 'rm', 'kept');
  assert.is((await on(scene, 'volume', 'rm', 'pages')).status, 0);
});

test('after kill -9 of the node: one that ran is taken over, one that ended meanwhile has its status', async (scene) => {
  await on(scene, 'run', '-d', '--name', 'stays', scene.image);
  const script = 'echo before; sleep 1; echo after; exit 4';
  await on(scene, 'run', '-d', '--name', 'ends', scene.image, 'sh', '-c', script);
  // The last quarter of a second of a log is not on the disk yet; who reads it writes it.
  await until('it has begun', async () => /before/.test((await on(scene, 'logs', 'ends')).stdout));
  const before = await containersOf(scene.node.data);
  const { data } = scene.node;
  scene.node.child.kill('SIGKILL');
  await scene.node.ended;
  await new Promise((resolve) => setTimeout(resolve, 1500));
  scene.node = await startProcess({ data });
  assert.is((await view(scene, 'stays')).state, 'running');
  assert.equal(
    (await containersOf(data)).filter((id) => id.startsWith('stays')),
    before.filter((id) => id.startsWith('stays')),
  );
  assert.is((await typed(scene, ['exec', 'stays', 'sh', '-c', 'exit 6']).ended).status, 6);
  const ended = await view(scene, 'ends');
  assert.equal([ended.state, ended.exitStatus], ['exited', 4]);
  assert.match((await on(scene, 'logs', 'ends')).stdout, /before\n.* after\n/);
  assert.is((await ask(scene.node.url, { path: '/web/' })).body.toString(), 'a page\n');
  await on(scene, 'rm', 'stays', 'ends');
});

test('after kill -9 of the node: what exec had started is ended, and what the container itself has started goes on', async (scene) => {
  await on(scene, 'run', '-d', '--name', 'host', scene.image, 'sh', '-c', 'sleep 911 & exec sleep 912');
  const script = 'sleep 913 & echo here; exec sleep 914';
  const running = typed(scene, ['exec', 'host', 'sh', '-c', script]);
  await until('it runs', () => running.said().includes('here'));
  const { data } = scene.node;
  scene.node.child.kill('SIGKILL');
  await scene.node.ended;
  scene.node = await startProcess({ data });
  const { stdout } = await sh(scene, 'host', 'cat /proc/[0-9]*/cmdline');
  const sleeping = stdout.toString().replaceAll('\0', ' ');
  for (const seconds of [911, 912]) assert.match(sleeping, new RegExp(`sleep ${seconds}`));
  for (const seconds of [913, 914]) assert.not.match(sleeping, new RegExp(`sleep ${seconds}`));
  assert.is((await view(scene, 'host')).state, 'running');
  await on(scene, 'rm', 'host');
});

test('what a node that is stopped has run is ended, and is not run again', async (scene) => {
  await on(scene, 'run', '-d', '--name', 'once', scene.image);
  const { data } = scene.node;
  const pid = Number(readFileSync(join(data, 'skerry.pid'), 'utf8'));
  process.kill(pid, 'SIGTERM');
  assert.is(await scene.node.ended, 0);
  assert.equal(await containersOf(data), []);
  scene.node = await startProcess({ data });
  assert.is((await view(scene, 'once')).state, 'exited');
  await on(scene, 'rm', 'once');
});

processes.run();
