import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import { assertFailure, type CliOptions, collect, type Result, skerry } from '../support/cli.ts';
import { whyNoContainers } from '../support/container-node.ts';
import { nodeView } from '../support/fake-node.ts';
import { fakeNodeSuite } from '../support/fake-node-suite.ts';
import { testUnless } from '../support/test-unless.ts';

const why = await whyNoContainers();
const test = fakeNodeSuite('doctor');

/** Where no node runs. */
let data: string;

test.before(() => {
  // What `doctor` starts where no node runs.
  execFileSync(process.execPath, [join(projectRoot, 'scripts/build-ts.mjs')]);
});
test.before.each(() => {
  data = mkdtempSync(join(tmpdir(), 'skerry-doctor-test-'));
});
test.after.each(() => rmSync(data, { recursive: true, force: true }));

const probe = (part: string, available: boolean, advice: string[] = []) => {
  return { part, available, provider: 'jco', quality: 'slow', advice };
};

test('doctor tells what the machine can run, how well, and what would help', async ({ start }) => {
  const node = await start({
    'GET /v1/node': () => nodeView,
    'GET /v1/doctor': () => ({
      healthy: true,
      problems: [],
      probes: [probe('wasm', true, ['build the native engine'])],
    }),
  });
  const { status, stdout, stderr } = await skerry(['doctor'], { data: node.data });
  assert.is(status, 0);
  assert.is(stderr, '');
  assert.match(stdout, /^engine +jco 1\.35\.0$/m);
  assert.match(stdout, /^notice +no native engine$/m);
  assert.match(stdout, /^wasm: available, jco\n {2}slow\n {2}→ build the native engine$/m);
  assert.match(stdout, /healthy/);
});

test('doctor fails when the node is not healthy, and says why', async ({ start }) => {
  const node = await start({
    'GET /v1/node': () => nodeView,
    'GET /v1/doctor': () => ({
      healthy: false,
      problems: ['the disk of /d is full'],
      probes: [probe('wasm', true), probe('disk', false)],
    }),
  });
  const result = await skerry(['doctor'], { data: node.data });
  assertFailure(result, 'UNHEALTHY', 1, /the node is not healthy: the disk of \/d is full/);
  assert.match(result.stdout, /^disk: not available/m);
});

test('without a node doctor examines this machine by itself, and leaves no trace', async () => {
  const folder = join(data, 'not', 'yet');
  const { status, stdout, stderr } = await skerry(['doctor', '--data', folder]);
  assert.is(status, 0, stderr);
  assert.ok(stdout.startsWith(`node  none is running at ${join(folder, 'skerry.sock')}\n`), stdout);
  assert.match(stdout, /^wasm: available, (wasmtime|jco) \d/m);
  // What a component that asks for something else is pointed to.
  assert.match(stdout, /^ {2}offers wasi:http\/\{types,outgoing-handler\}@0\.2$/m);
  assert.match(stdout, /^ {2}offers wasi:logging\/logging$/m);
  assert.match(stdout, /^native engine: (not )?available/m);
  assert.match(stdout, /^machine: available, Linux \S+ \S+\n {2}\d+ CPUs?, Node\.js v\d/m);
  assert.match(stdout, /^memory: available, .*\n {2}\S+ free$/m);
  assert.match(stdout, /^disk: available, .*\n {2}\S+ free$/m);
  for (const part of ['container', 'vm', 'cgroups', 'KVM']) assert.match(stdout, new RegExp(`^${part}: `, 'm'));
  assert.match(stdout, new RegExp(`^data folder: available, ${folder}\\n {2}will be made$`, 'm'));
  assert.match(stdout, /skerry up/);
  assert.not(existsSync(join(data, 'not')));
  const json = JSON.parse((await skerry(['doctor', '--json'], { data })).stdout);
  assert.is(json.healthy, true);
  assert.equal(json.problems, []);
  assert.is(json.node, null);
  assert.equal(Object.keys(json.probes[0]), ['part', 'available', 'provider', 'quality', 'advice', 'offers']);
  assert.equal(readdirSync(data), []);
});

/** On a busy machine the examination takes long enough to be told. */
const withoutSteps = (result: Result): Result => ({
  ...result,
  stderr: result.stderr.replace(/^Examining this machine\n/, ''),
});

test('the engine that a node would be given is the one that is looked at', async () => {
  const options: CliOptions = { data, env: { SKERRY_ENGINE: 'jco' } };
  assert.match((await skerry(['doctor'], options)).stdout, /^wasm: available, jco \d/m);
  const wrong = await skerry(['doctor'], { data, env: { SKERRY_ENGINE: 'quick' } });
  assertFailure(withoutSteps(wrong), 'CONFIG_INVALID', 1, /^SKERRY_ENGINE: must be auto, wasmtime or jco; correct it/);
  assert.is(wrong.stdout, '');
});

test('where a node could not run, doctor fails and says why', async () => {
  const folder = join(data, 'closed');
  mkdirSync(folder, { mode: 0o755 });
  chmodSync(data, 0o755);
  // Root may write everywhere: the command runs as nobody.
  const root = process.getuid?.() === 0;
  if (!root) chmodSync(folder, 0o555);
  const child = spawn(process.execPath, [join(projectRoot, 'bin/skerry.js'), 'doctor', '--data', folder], {
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(root ? { uid: 65534, gid: 65534 } : {}),
  });
  const result = await collect(child);
  assertFailure(
    withoutSteps(result),
    'UNHEALTHY',
    1,
    /this machine is not healthy: the data folder \S+ cannot be written/,
  );
  assert.match(result.stdout, /^data folder: not available, .*\n.*\n {2}→ run this as the user of the node/m);
});

/** What stands between a machine and its containers, on this one with parts of it taken away, for one process and its children. */
async function doctorWithout(...missing: string[]): Promise<string> {
  const place = mkdtempSync(join(tmpdir(), 'skerry-doctor-test-'));
  const over = [...new Set(missing.map(dirname))].map((folder, at) =>
    // Devices are no layer of an overlay.
    folder === '/dev'
      ? `mkdir ${place}/dev && for each in null zero urandom random tty; do touch ${place}/dev/$each; mount --bind /dev/$each ${place}/dev/$each; done && mount --rbind ${place}/dev /dev`
      : `mkdir ${place}/upper${at} ${place}/work${at} && mount -t overlay overlay -o lowerdir=${folder},upperdir=${place}/upper${at},workdir=${place}/work${at} ${folder}`,
  );
  const script = ['set -e', `mount -t tmpfs tmpfs ${place}`, ...over, `rm -f ${missing.join(' ')}`, 'exec "$@"'].join(
    '\n',
  );
  const command = [process.execPath, join(projectRoot, 'bin/skerry.js'), 'doctor', '--data', join(place, 'none')];
  const env = { ...process.env, NODE_OPTIONS: '' };
  try {
    return (await collect(spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', ...command], { env }))).stdout;
  } finally {
    rmSync(place, { recursive: true });
  }
}

const whole = suite('doctor of what containers need');
const ofContainers = (what: string, work: () => Promise<void>) => testUnless(whole, why, what, work);

ofContainers('what some containers need and the machine lacks is told, with the command that brings it', async () => {
  assert.match(
    await doctorWithout(),
    /^container: available, crun \S+, cgroup \S+\n {2}[^\n]*nobody outside\n(?! {2}→)/m,
  );
  const out = await doctorWithout('/dev/loop-control', '/usr/sbin/mke2fs', '/usr/bin/buildah');
  assert.match(out, /^container: available, crun/m);
  assert.match(out, /; without volumes: \/dev\/loop-control cannot be opened \(ENOENT\)/);
  assert.match(
    out,
    /; without volumes: \/sbin\/mke2fs is missing; without builds of Dockerfiles: \/usr\/bin\/buildah is missing/,
  );
  for (const advice of ['modprobe loop', 'apt-get install e2fsprogs', 'apt-get install buildah']) {
    assert.match(out, new RegExp(`^ {2}→ .*${advice}$`, 'm'));
  }
});

ofContainers('where there can be no containers the packages that are missing are told, and no other', async () => {
  const out = await doctorWithout('/usr/bin/crun', '/usr/sbin/runc', '/usr/bin/conmon');
  assert.match(
    out,
    /^container: not available, none\n {2}\/usr\/bin\/conmon, \/usr\/bin\/crun is missing\n {2}→ apt-get install conmon crun$/m,
  );
});

const noRunc = why ?? (existsSync('/usr/sbin/runc') ? null : 'there is no runc');
testUnless(whole, noRunc, 'where crun is missing runc is what containers run by', async () => {
  const out = await doctorWithout('/usr/bin/crun');
  assert.match(out, /^container: available, runc \S+, cgroup \S+$/m);
  assert.match(out, /without builds of Dockerfiles: \/usr\/bin\/crun is missing/);
  assert.match(out, /^ {2}→ .*apt-get install crun$/m);
});

test('of a node elsewhere that does not answer nothing is told', async () => {
  const result = await skerry(['doctor', '--node', 'http://127.0.0.1:1']);
  assertFailure(result, 'NODE_NOT_RUNNING', 1, /127\.0\.0\.1:1/);
  assert.is(result.stdout, '');
});

test.run();
whole.run();
