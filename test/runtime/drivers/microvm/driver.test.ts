/** What is special of machines: a kernel of their own, templates and clones, and a monitor that is trusted no more than a guest. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { machinesFolder, openMachines } from '../../../../daemon/hostd/open-machines.ts';
import type { Instance } from '../../../../runtime/driver.ts';
import { GuestFiles, OWN_KERNEL } from '../../../../runtime/drivers/microvm/kernel.ts';
import { librariesOf } from '../../../support/base-images.ts';
import { fakeResolver, listen } from '../../../support/egress.ts';
import { failure } from '../../../support/failure.ts';
import { openFiles } from '../../../support/host-suite.ts';
import { busyboxLayer, layerOf } from '../../../support/image-builder.ts';
import { MachineNode, whyNoMachines } from '../../../support/machine-node.ts';
import { inside, shellConfig, shellLayers, TOOLS } from '../../../support/shell-container.ts';
import { file, folder } from '../../../support/tar-writer.ts';
import { testUnless } from '../../../support/test-unless.ts';
import { get, httpd, pages, pause, shell, up } from '../image/conformance.ts';

const why = await whyNoMachines();
const machines = suite('microVMs');
const test = (what: string, work: (node: MachineNode) => Promise<void>) =>
  testUnless(machines, why, what, () => MachineNode.during(work));

const looking = async (node: MachineNode, settings = {}) =>
  node.start(await node.revision(shellLayers(), shellConfig(), { writable: '2MiB', ...settings }));

/** Of the monitor of the one machine that there is: the process in namespaces of its own. */
function monitorOf(id: string): number {
  const found = readdirSync('/proc').find((pid) => {
    try {
      if (!/^\d+$/.test(pid) || !readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/skerry/${id}`)) return false;
      return readlinkSync(`/proc/${pid}/ns/pid`) !== readlinkSync('/proc/self/ns/pid');
    } catch {
      return false;
    }
  });
  assert.ok(found, 'there is a monitor');
  return Number(found);
}

/** Files of this machine's distribution, and the libraries that its programs need. */
function hostLayer(program: string, ...more: string[]) {
  const paths = [program, ...librariesOf(program), ...more];
  const folders = new Set(
    paths.flatMap((path) =>
      path
        .split('/')
        .slice(1, -1)
        .map((_, i, all) => all.slice(0, i + 1).join('/')),
    ),
  );
  const mode = 0o755;
  return layerOf([
    ...[...folders].map((path) => folder(`${path}/`)),
    ...paths.map((path) => file(path.slice(1), readFileSync(path), { mode })),
  ]);
}

/** Where its templates are. */
const templates = (node: MachineNode) => join(node.folder, 'machines', 'templates');

for (const snapshot of ['boot', 'app'] as const) {
  test(`two machines that go on from one template (${snapshot}) share no random value, name or time`, async (node) => {
    const revision = await node.revision(shellLayers(), shellConfig(), { writable: '2MiB', snapshot });
    const [one, other] = [await node.start(revision), await node.start(revision)];
    const script =
      'busybox head -c 32 /dev/urandom | busybox od -An -tx1; cat /etc/machine-id; cat /proc/sys/kernel/random/uuid; cat /proc/sys/kernel/random/boot_id';
    const [first, second] = [await inside(one, script), await inside(other, script)];
    const lines = [...first.trim().split('\n'), ...second.trim().split('\n')];
    // The kernel makes its boot id once, when it is asked first.
    assert.is(new Set(lines).size, lines.length, lines.join('\n'));
    for (const each of [one, other]) {
      const seconds = Number(await inside(each, 'busybox date +%s'));
      assert.ok(Math.abs(seconds - Date.now() / 1000) < 60, `the clock says ${seconds}`);
      assert.is((await inside(each, 'hostname')).trim(), revision.workload);
    }
    assert.is(readdirSync(templates(node)).length, 1);
    assert.match(node.told.join('\n'), snapshot === 'boot' ? /a template of a machine was made/ : /^$/);
  });
}

test('a template with a flipped bit, or of another version, is made anew, and the log says why', async (node) => {
  const revision = await node.revision(shellLayers(), shellConfig());
  await (await node.start(revision)).stop(0);
  const [key = ''] = readdirSync(templates(node));
  const spoil = async (part: string, change: (path: string) => void) => {
    change(join(templates(node), key, part));
    // What this run has verified is verified again by the next.
    const next = await MachineNode.open(node.folder);
    const instance = await next.start(revision);
    assert.is((await inside(instance, 'echo well')).trim(), 'well');
    await instance.stop(0);
    return next.told.join('\n');
  };
  const flip = (path: string) => {
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.of(readFileSync(path)[4097]! ^ 1), 0, 1, 4097);
  };
  assert.match(await spoil('memory', flip), /is made anew: its memory is not what was written/);
  assert.match(await spoil('state', flip), /is made anew: its state is not what was written/);
  const older = (path: string) => {
    const file = openSync(path, 'r+');
    writeSync(file, JSON.stringify({ monitor: 'QEMU 0.1', memory: 'x', state: 'y' }).padEnd(statSync(path).size));
  };
  assert.match(await spoil('description', older), /it was made by QEMU 0\.1, this is QEMU/);
});

test('a monitor has a user, namespaces and a root of its own, no capability, a filter, and its limits', async (node) => {
  const { id } = await up(node, httpd, { memory: '64MiB', cpus: 0.5 });
  const pid = monitorOf(id);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const value = (name: string) => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(status)?.[1];
  assert.ok(Number(value('Uid')?.split('\t')[0]) > 2 ** 30);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.is(value(set), '0000000000000000');
  assert.is(value('NoNewPrivs'), '1');
  assert.is(value('Seccomp'), '2');
  assert.is(value('Groups'), '');
  for (const name of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']) {
    assert.is.not(readlinkSync(`/proc/${pid}/ns/${name}`), readlinkSync(`/proc/self/ns/${name}`), name);
  }
  // What it needs to run, read-only, and nothing of the host's.
  const root = readdirSync(`/proc/${pid}/root`);
  for (const name of ['proc', 'sys', 'etc', 'home', 'root', 'tmp', 'run']) assert.not.ok(root.includes(name), name);
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n');
  const writable = mounts.filter((line) => !/ ro[, ]/.test(line.split(' - ')[0]!) && !line.includes(' - tmpfs '));
  assert.equal(
    writable.map((line) => line.split(' ')[4]).filter((path) => path?.startsWith('/usr') || path === '/memory'),
    [],
  );
  assert.not.ok(existsSync(`/proc/${pid}/root/bin/sh`));
});

test('what it sends out goes where its allow-list says, by name, and nowhere else', async () => {
  const { resolve } = fakeResolver({ 'here.example': [['127.0.0.1']], 'other.example': [['127.0.0.1']] });
  const node = await MachineNode.open(undefined, { egress: { resolve } });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('data', () => socket.end('hello from outside\n'));
  });
  try {
    const port = await listen(server);
    const one = await looking(node, { allow: [`here.example:${port}`, `127.0.0.1:${port}`] });
    assert.is(await inside(one, `${TOOLS} say here.example ${port}`), 'hello from outside\n');
    assert.match(await inside(one, 'busybox nslookup other.example'), /NXDOMAIN/);
    assert.not.match(await inside(one, `echo hi | busybox timeout 5 busybox nc 203.0.113.9 ${port}`), /hello/);
    // The node's end of the wire is no way to what listens on the host.
    assert.not.match(await inside(one, `echo hi | busybox timeout 5 busybox nc 192.0.0.1 ${port}`), /hello/);
    const log = await node.log(one.revision.workload);
    assert.match(log, /asked for other\.example/);
    assert.match(log, /203\.0\.113\.9:\d+ was refused/);
    const none = await looking(node);
    assert.not.match(await inside(none, `${TOOLS} say here.example ${port} 2>&1`), /hello from/);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    await node.close();
  }
});

test('a machine that powers off, or loses its monitor, is told as that, and nothing of it is left', async (node) => {
  const off = await looking(node);
  await inside(off, 'busybox reboot -f').catch(() => {});
  assert.match((await off.exited).message, /powered off/);
  const lost = await looking(node);
  process.kill(monitorOf(lost.id), 'SIGKILL');
  assert.match((await lost.exited).message, /was ended by signal 9/);
  assert.equal(node.left(), []);
});

test('a kernel that panics, and a machine that hangs, are told from one that is slow', async (node) => {
  const panics = await looking(node);
  const slow = await looking(node);
  process.kill(monitorOf(slow.id), 'SIGSTOP');
  const eat = 'echo 2 > /proc/sys/vm/panic_on_oom; busybox tail /dev/zero';
  await inside(panics, eat).catch(() => {});
  const { reason, message } = await panics.exited;
  assert.is(reason, 'failed');
  assert.match(message, /panic/i);
  await pause(2000);
  process.kill(monitorOf(slow.id), 'SIGCONT');
  assert.is((await inside(slow, 'echo well')).trim(), 'well');
  process.kill(monitorOf(slow.id), 'SIGSTOP');
  assert.match((await slow.exited).message, /agent/);
  assert.equal(node.left(), []);
});

test('machines of two kernels and two distributions run side by side', async (node) => {
  const kernel = readFileSync(OWN_KERNEL);
  const banner = kernel.indexOf('Linux version 6.');
  const [, version = ''] = /^Linux version (\S+)/.exec(kernel.toString('latin1', banner, banner + 100)) ?? [];
  const another = `${version.slice(0, -1)}${version.endsWith('9') ? 8 : 9}`;
  for (let at = kernel.indexOf(version); at >= 0; at = kernel.indexOf(version, at)) kernel.write(another, at);
  const path = join(node.folder, 'vmlinux');
  writeFileSync(path, kernel);
  const digest = `sha256:${createHash('sha256').update(kernel).digest('hex')}`;
  await new GuestFiles(node.host.files).give(digest, path);
  const start = async (debian: boolean, settings: object) => {
    const layers = debian ? [...shellLayers(), hostLayer('/bin/bash', '/etc/os-release')] : shellLayers();
    return node.start(await node.revision(layers, shellConfig(), settings));
  };
  const all = await Promise.all([
    start(false, {}),
    start(true, {}),
    start(false, { kernel: digest }),
    start(true, { kernel: digest }),
  ]);
  const script =
    'busybox uname -r; if [ -e /etc/os-release ]; then /bin/bash -c \'. /etc/os-release; echo "$ID $BASH_VERSION"\'; fi';
  const said = await Promise.all(all.map((each) => inside(each, script)));
  assert.equal(
    said.map((text) => text.split('\n')[0]),
    [version, version, another, another],
  );
  for (const i of [1, 3]) assert.match(said[i] as string, /\n\w+ \d+\.\d+/);
  for (const i of [0, 2]) assert.not.match(said[i] as string, /\n\w/);
});

test('a paused machine of a node that was killed ends when the next one opens', async (node) => {
  const support = new URL('../../../support/', import.meta.url).href;
  const script = `
    import { MachineNode } from '${support}machine-node.ts';
    import { shellConfig, shellLayers } from '${support}shell-container.ts';
    const node = await MachineNode.open(process.argv[1]);
    const instance = await node.start(await node.revision(shellLayers(), shellConfig()));
    await instance.pause();
    console.log(instance.id);
  `;
  const data = join(node.folder, 'killed');
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script, data], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const id = await new Promise<string>((resolve) => child.stdout.once('data', (text) => resolve(String(text).trim())));
  const pid = monitorOf(id);
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGKILL');
  await ended;
  await (await openMachines(data, () => {})).close();
  // Whoever inherits it is a moment later to take its status.
  for (let i = 0; i < 100 && existsSync(`/proc/${pid}`); i++) await pause(50);
  assert.not.ok(existsSync(`/proc/${pid}`), 'its monitor has ended');
  assert.not.ok(existsSync(machinesFolder(data)));
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    assert.not.ok(existsSync(join('/sys/fs/cgroup', controller, 'skerry', id)), `its group of ${controller}`);
  }
});

test('a flood on its logs, its disk and its processes holds nobody else up', async (node) => {
  const quiet = await up(node);
  const flood = 'httpd -p 8080 -h /www; busybox yes flood & busybox yes flood >&2 & while :; do sleep 1; done';
  const loud = await up(node, shell(flood), { writable: '2MiB' });
  const began = (await get(loud)).status;
  assert.is(began, 200);
  assert.is((await get(quiet)).status, 200);
  assert.match(await node.log(loud.revision.workload), /flood/);
  await loud.stop(0);
  assert.equal(node.left().length, 1);
});

test('more memory than there is, or less than a kernel needs, is refused at the deploy', async (node) => {
  const check = async (memory: string) => {
    const revision = await node.revision([busyboxLayer(), pages], httpd, { memory });
    return failure(node.driver.check(revision, 'it', () => {}));
  };
  assert.is((await check('64GiB')).code, 'MACHINE_TOO_LARGE');
  assert.is((await check('8MiB')).code, 'MACHINE_TOO_SMALL');
});

test('a root disk that was changed on the disk is made again', async (node) => {
  const revision = await node.revision(shellLayers(), shellConfig());
  await (await node.start(revision)).stop(0);
  const folder = join(node.folder, 'machines', 'disks');
  const name = readdirSync(folder).find((each) => each.endsWith('.erofs')) as string;
  const file = openSync(join(folder, name), 'r+');
  writeSync(file, Buffer.alloc(4096, 7), 0, 4096, 4096);
  const next = await MachineNode.open(node.folder);
  const instance = await next.start(revision);
  assert.is((await inside(instance, 'echo well')).trim(), 'well');
  await instance.stop(0);
});

test('pausing stops it and its monitor; resizing changes what it may use', async (node) => {
  const instance = await looking(node);
  await inside(instance, 'true');
  await instance.pause();
  const pid = monitorOf(instance.id);
  const time = () => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ').slice(11, 13).join();
  const before = time();
  await pause(300);
  assert.is(time(), before, 'it used no processor');
  assert.is((await inside(instance, 'echo on')).trim(), 'on');
  const free = async () => Number(/MemFree:\s+(\d+)/.exec(await inside(instance, 'cat /proc/meminfo'))?.[1]);
  const wasFree = await free();
  await instance.resize({ ...instance.revision.limits, memoryBytes: 50 * 2 ** 20 });
  for (let i = 0; i < 100 && (await free()) > wasFree - 8000; i++) await pause(100);
  assert.ok((await free()) < wasFree - 8000, 'the rest was given back');
});

test('machines that come and go leave no process, group, namespace, file or descriptor', async (node) => {
  const revision = await node.revision(shellLayers(), shellConfig());
  const cycle = async () => {
    const instance: Instance = await node.start(revision);
    await inside(instance, 'true');
    await instance.stop(0);
  };
  await cycle();
  const before = await openFiles();
  for (let i = 0; i < 8; i++) await cycle();
  await Promise.all(Array.from({ length: 4 }, cycle));
  assert.ok((await openFiles()) <= before, `${await openFiles()} files are open, ${before} were`);
  assert.equal(node.left(), []);
  const groups = readdirSync('/sys/fs/cgroup/memory/skerry').filter((name) => name.startsWith(revision.workload));
  assert.equal(groups, []);
  await (await openMachines(node.folder, () => {})).close();
});

machines.run();
