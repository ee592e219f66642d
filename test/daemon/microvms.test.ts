/** Images in machines of their own on a real node: deployed and run by the command, served by the gateway. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { OWN_KERNEL } from '../../runtime/drivers/microvm/kernel.ts';
import { assertFailure, skerry } from '../support/cli.ts';
import { removeContainers } from '../support/container-node.ts';
import { busyboxLayer, LayoutBuilder, layerOf } from '../support/image-builder.ts';
import { machinesOf, removeMachines, whyNoMachines } from '../support/machine-node.ts';
import { file, folder } from '../support/tar-writer.ts';
import { ask, discard, type ProcessNode, startProcess } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

interface Scene {
  readonly place: string;
  readonly image: string;
  node: ProcessNode;
}

const why = await whyNoMachines();
const machines = suite<Scene>('microVMs on a node');
const test = (what: string, work: (scene: Scene) => Promise<void>) => testUnless(machines, why, what, work);

/** Under emulation, beside other work. */
const PATIENT = ['--memory', '64MiB', '--start-timeout', '120s'];

machines.before(async (scene) => {
  if (why !== null) return;
  const place = mkdtempSync(join(tmpdir(), 'skerry-microvms-'));
  const layout = new LayoutBuilder(join(place, 'layout'));
  layout.image([busyboxLayer(), layerOf([folder('www/'), file('www/index.html', 'a page')])], 'v1', {
    Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'],
    ExposedPorts: { '8080/tcp': {} },
  });
  Object.assign(scene, { place, image: `oci:${layout.folder}:v1`, node: await startProcess() });
});
machines.after(async ({ place, node }) => {
  if (why !== null) return;
  await end(node);
  rmSync(place, { recursive: true, force: true });
});

async function end(node: ProcessNode): Promise<void> {
  await discard(node);
  await removeContainers(node.data);
  await removeMachines(node.data);
}

/** Processes of monitors for the machines of a node. */
function monitors(data: string): string[] {
  const ids = machinesOf(data);
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const group = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
      return ids.some((id) => group.includes(`/${id}`));
    } catch {
      return false;
    }
  });
}

test('an image is deployed into a machine, answers, tells how it runs, and leaves nothing', async ({ node, image }) => {
  const { data } = node;
  const on = (...args: string[]) => skerry(args, { data });
  const deployed = await on('deploy', image, '--name', 'web', '--isolation', 'vm', ...PATIENT);
  assert.is(deployed.status, 0, deployed.stderr);
  assert.is((await ask(node.url, { path: '/web/' })).body.toString(), 'a page');
  const inspected = JSON.parse((await on('inspect', 'web', '--json')).stdout);
  assert.is(inspected.revisions[0].isolation, 'vm');
  assert.is(machinesOf(data).length, 1);
  const doctor = await on('doctor');
  assert.match(doctor.stdout, /^vm: available, QEMU \S+, (?:KVM|emulation)/m);
  assert.match(doctor.stdout, /times native|\/dev\/kvm/);
  const kernel = await on('run', '--rm', '--isolation', 'vm', ...PATIENT.slice(0, 2), image, 'busybox', 'uname', '-r');
  assert.is(kernel.status, 0, kernel.stderr);
  assert.not.equal(kernel.stdout.trim(), readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim());
  assert.is((await on('rm', 'web')).status, 0);
  assert.equal(machinesOf(data), []);
});

test('a process in a machine is run, looked at, executed in and stopped as one in a container', async (scene) => {
  const { image, node } = scene;
  const on = (...args: string[]) => skerry(args, { data: node.data });
  const vm = ['--isolation', 'vm', '--memory', '64MiB'];
  const script = 'trap "echo ending; exit 0" TERM; echo begun; while :; do sleep 0.1; done';
  const started = await on('run', '-d', '--name', 'my_vm', ...vm, image, 'sh', '-c', script);
  assert.is(started.status, 0, started.stderr);
  assert.match((await on('ps')).stdout, /my_vm/);
  const executed = await on('exec', 'my_vm', 'sh', '-c', 'hostname; exit 3');
  assert.is(executed.stdout, 'my-vm\n');
  assert.is(executed.status, 3);
  const stopped = await on('stop', 'my_vm');
  assert.is(stopped.status, 0, stopped.stderr);
  assert.match((await on('logs', 'my_vm')).stdout, /begun.*ending/s);
  assert.is((await on('rm', 'my_vm')).status, 0);
  const piped = await skerry(['run', '--rm', ...vm, image, 'cat'], { data: node.data, stdin: 'through it' });
  assert.is(piped.stdout, 'through it');
  assertFailure(await on('run', '--rm', ...vm, image, '/bin/nothing'), 'COMMAND_MISSING', 1, /nothing/);
  assert.equal(machinesOf(node.data), []);
});

test('a kernel of its own is booted; what is none is refused before anything changes', async ({
  node,
  image,
  place,
}) => {
  const on = (...args: string[]) => skerry(args, { data: node.data });
  const deploy = (kernel: string) =>
    on('deploy', image, '--name', 'own', '--isolation', 'vm', ...PATIENT, '--kernel', kernel);
  const none = join(place, 'none');
  writeFileSync(none, 'x'.repeat(5000));
  assertFailure(await deploy(none), 'KERNEL_UNFIT', 1, /neither an ELF file nor a bzImage/);
  const foreign = readFileSync(OWN_KERNEL).subarray(0, 8192);
  foreign.writeUInt16LE(183, 18);
  writeFileSync(none, foreign);
  assertFailure(await deploy(none), 'KERNEL_UNFIT', 1, /arm64/);
  assertFailure(
    await on('deploy', image, '--name', 'own', '--isolation', 'container', '--kernel', OWN_KERNEL),
    'INVALID_SETTING',
    1,
    /kernel/,
  );
  const deployed = await deploy(OWN_KERNEL);
  assert.is(deployed.status, 0, deployed.stderr);
  assert.is((await ask(node.url, { path: '/own/' })).body.toString(), 'a page');
  assert.is((await on('rm', 'own')).status, 0);
});

test('after kill -9 of the node its machines are gone, and the next node starts others', async ({ image }) => {
  const first = await startProcess();
  let last = first;
  try {
    const deployed = await skerry(['deploy', image, '--name', 'web', '--isolation', 'vm', ...PATIENT, '--min', '1'], {
      data: first.data,
    });
    assert.is(deployed.status, 0, deployed.stderr);
    const before = machinesOf(first.data);
    assert.is(before.length, 1);
    assert.ok(monitors(first.data).length > 0);
    first.child.kill('SIGKILL');
    await first.ended;
    for (let i = 0; i < 100 && monitors(first.data).length > 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(monitors(first.data), [], 'no monitor goes on');
    last = await startProcess({ data: first.data });
    assert.is((await ask(last.url, { path: '/web/' })).body.toString(), 'a page');
    assert.not.ok(machinesOf(first.data).includes(before[0] as string));
  } finally {
    await end(last);
  }
});

test('where no containers can be had, an image runs in a machine by itself', async ({ image }) => {
  const hidden = 'mount --bind /dev/null /usr/share/containers/seccomp.json && exec "$0" "$@"';
  const node = await startProcess({ within: ['unshare', '--mount', 'sh', '-c', hidden] });
  try {
    const on = (...args: string[]) => skerry(args, { data: node.data });
    const deployed = await on('deploy', image, '--name', 'web', ...PATIENT);
    assert.is(deployed.status, 0, deployed.stderr);
    assert.is((await ask(node.url, { path: '/web/' })).body.toString(), 'a page');
    const inspected = JSON.parse((await on('inspect', 'web', '--json')).stdout);
    assert.is(inspected.revisions[0].isolation, 'vm');
    assert.match(inspected.revisions[0].decision, /runs no containers/);
    assert.match((await on('doctor')).stdout, /^container: not available/m);
  } finally {
    await end(node);
  }
});

machines.run();
