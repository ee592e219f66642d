/** Groups of processes with limits: on this machine's own cgroups, whatever version they are, and on version 2 where it is. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type Cgroup, type CgroupLayout, Cgroups, cgroupLayout } from '../../../native/host/index.ts';
import { hostSuite, noMoreFilesThan, openFiles, refused } from '../../support/host-suite.ts';

const { test, run } = hostSuite('cgroups');
const found = await cgroupLayout();
const parent = `skerry-test-${process.pid}`;
const MIB = 2 ** 20;

/** Only version 2, where it is mounted at all: beside version 1 it freezes and kills, but has no controllers. */
const onlyV2: CgroupLayout | null =
  found.v2 === null ? null : { ...found, mode: 'v2', v1: new Map(), mounts: [found.v2.mount] };
const versions = [
  { name: found.mode, layout: found },
  ...(onlyV2 === null || found.mode === 'v2' ? [] : [{ name: 'v2 without controllers', layout: onlyV2 }]),
];

let serial = 0;

/** Gives a group to the work; afterwards nothing of it is left. */
async function withGroup(
  layout: CgroupLayout,
  limits: Parameters<Cgroups['create']>[1],
  work: (group: Cgroup) => Promise<void>,
): Promise<void> {
  const groups = await Cgroups.open(parent, layout);
  const { group } = await groups.create(`group-${++serial}`, limits);
  try {
    await work(group);
  } finally {
    await group.kill();
    await group.remove();
    for (const folder of group.folders) assert.not(existsSync(folder), `${folder} is left`);
    for (const mount of layout.mounts)
      if (existsSync(join(mount, parent))) rmSync(join(mount, parent), { recursive: true });
  }
}

/** Starts a shell that is in the group before it does anything. */
async function start(group: Cgroup, script: string): Promise<ChildProcess> {
  const child = spawn('/bin/sh', ['-c', `read go; ${script}`], { stdio: ['pipe', 'pipe', 'ignore'] });
  await group.add(child.pid!);
  child.stdin!.write('go\n');
  return child;
}

/** CPU time of a process, in clock ticks. */
function ticks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1').split(' ');
  return Number(stat[13]) + Number(stat[14]);
}

for (const { name, layout } of versions) {
  test(`${name}: frozen, nothing runs; thawed, it goes on`, ['root'], async () => {
    await withGroup(layout, {}, async (group) => {
      const child = await start(group, 'while :; do :; done');
      await sleep(50);
      await group.freeze();
      const before = ticks(child.pid!);
      await sleep(100);
      assert.is(ticks(child.pid!), before);
      await group.freeze();
      await group.thaw();
      await sleep(150);
      assert.ok(ticks(child.pid!) > before);
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
  });

  test(`${name}: a fork bomb is killed whole, frozen or not`, ['root'], async () => {
    for (const frozen of [false, true]) {
      await withGroup(layout, { pids: 64 }, async (group) => {
        // Of processes that ignore every signal that they can.
        const child = await start(
          group,
          "trap '' TERM INT HUP; f() { sleep 0.01; f & f & }; (f) & while :; do :; done",
        );
        child.stdin!.on('error', () => {});
        await sleep(150);
        if (frozen) await group.freeze();
        const exited = once(child, 'exit');
        await group.kill();
        assert.is((await exited)[1], 'SIGKILL');
        const left = group.folders.map((folder) => readFileSync(join(folder, 'cgroup.procs'), 'utf8'));
        assert.is(left.join(''), '');
      });
    }
  });

  test(`${name}: removed with the groups below it, once they are empty`, ['root'], async () => {
    await withGroup(layout, {}, async (group) => {
      for (const folder of group.folders) mkdirSync(join(folder, 'below'));
      const child = await start(group, 'exec sleep 0.3');
      const started = performance.now();
      await group.remove();
      assert.ok(performance.now() - started > 100);
      if (child.exitCode === null) await once(child, 'exit');
      // What is gone can be killed and removed once more.
      await group.kill();
      await group.remove();
      assert.is((await refused(group.usage())).code, 'ENOENT');
      assert.is((await refused(group.freeze())).code, 'ENOENT');
    });
  });
}

/** What needs controllers. */
const limited = (what: string, work: () => Promise<void>) => {
  const has = (name: 'memory' | 'cpu' | 'pids') => found.v1.has(name) || found.v2?.controllers.includes(name) === true;
  if (has('memory') && has('cpu') && has('pids')) return test(what, ['root'], work);
  console.log(`skipped: ${what}, since the kernel offers no controllers here`);
};

limited('limits that the kernel has are applied, and those that it has not are named', async () => {
  const limits = { memoryBytes: 32 * MIB, cpuMillicores: 500, cpuWeight: 50, pids: 20, ioWeight: 200 };
  await withGroup(found, {}, async (group) => {
    const unapplied = await group.setLimits(limits);
    assert.ok(
      unapplied.every((each) => ['ioWeight', 'swap'].includes(each)),
      unapplied.join(),
    );
    // Up and down again.
    await group.setLimits({ memoryBytes: 64 * MIB });
    await group.setLimits({ memoryBytes: 16 * MIB });
    const child = await start(group, 'cat /proc/self/cgroup');
    const [text] = await once(child.stdout!, 'data');
    assert.match(String(text), new RegExp(`memory.*:${group.path}$|^0::${group.path}$`, 'm'));
    await once(child, 'exit');
    assert.is((await refused(group.setLimits({ memoryBytes: 0 }))).code, 'EINVAL');
    assert.is((await refused(group.setLimits({ cpuMillicores: 1.5 }))).path, 'cpuMillicores');
  });
});

limited('a limit of processes holds, and what is used is told', async () => {
  await withGroup(found, { pids: 5, cpuMillicores: 200 }, async (group) => {
    const child = await start(group, '(for i in 1 2 3 4 5 6 7 8; do sleep 60 & done); while :; do :; done');
    await sleep(50);
    const first = await group.usage();
    const started = performance.now();
    await sleep(600);
    const second = await group.usage();
    const share = (second.cpuUs! - first.cpuUs!) / 1000 / (performance.now() - started);
    assert.ok(second.pids! <= 5, `${second.pids} processes`);
    assert.ok(second.memoryBytes! > 0);
    assert.ok(share > 0.01 && share < 0.35, `${share} of a CPU`);
    child.kill('SIGKILL');
  });
});

limited('who takes more memory than the limit is killed, which is counted and told', async () => {
  await withGroup(found, { memoryBytes: 16 * MIB, pids: 10 }, async (group) => {
    // The first watch of a process opens what all of them are told by.
    await (await group.watchOom(() => {}))();
    const before = await openFiles();
    let told: ((kills: number) => void) | undefined;
    const kills = new Promise<number>((resolve) => {
      told = resolve;
    });
    const stop = await group.watchOom((count) => told?.(count));
    assert.is(await group.oomKills(), 0);
    const child = await start(group, 'head -c 200m /dev/zero | tail -c 200m >/dev/null');
    const [exit, count] = await Promise.all([once(child, 'exit'), kills]);
    // As a shell tells that SIGKILL ended what it waited for.
    assert.is(exit[0], 137);
    assert.is(count, 1);
    assert.is(await group.oomKills(), 1);
    await stop();
    await stop();
    await sleep(20);
    await noMoreFilesThan(before);
  });
});

limited('a watch ends with its group', async () => {
  const before = await openFiles();
  await withGroup(found, { memoryBytes: 16 * MIB }, async (group) => {
    await group.watchOom(() => assert.unreachable());
    await group.remove();
  });
  await sleep(400);
  await noMoreFilesThan(before);
});

limited('names that are taken, or no names, are refused; groups are listed', async () => {
  const groups = await Cgroups.open(parent);
  const { group } = await groups.create('one', {});
  const taken = await refused(groups.create('one', {}));
  assert.is(taken.code, 'EEXIST');
  assert.is(taken.syscall, 'mkdir');
  assert.is((await refused(groups.create('two', { pids: 0 }))).code, 'EINVAL');
  assert.equal(await groups.list(), ['one']);
  for (const name of ['', '.', '..', '../up', 'a/b', '-x']) {
    assert.is((await refused(groups.create(name, {}))).code, 'EINVAL');
  }
  assert.equal(await groups.get('one').pressure('cpu'), found.mode === 'v2' ? await group.pressure('cpu') : null);
  await group.remove();
  assert.equal(await groups.list(), []);
  for (const mount of found.mounts)
    if (existsSync(join(mount, parent))) rmSync(join(mount, parent), { recursive: true });
});

test(
  'a move that is expected leaves this process where it is, and others can be moved meanwhile',
  ['root'],
  async () => {
    const groups = await Cgroups.open(parent);
    const before = readFileSync('/proc/self/cgroup', 'utf8');
    await withGroup(groups.layout, {}, async (group) => {
      let tell = () => {};
      const moved = new Promise<void>((resolve) => {
        tell = resolve;
      });
      const expecting = groups.expectMove(moved);
      const child = await start(group, 'exec sleep 60');
      for (const folder of group.folders) {
        assert.is(readFileSync(join(folder, 'cgroup.procs'), 'utf8').trim(), String(child.pid));
      }
      tell();
      await expecting;
    });
    assert.is(readFileSync('/proc/self/cgroup', 'utf8'), before);
    // Where it cannot be done, and where the move fails, there is nothing to tell.
    await (await Cgroups.open(parent, { ...found, own: '/nowhere' })).expectMove(new Promise(() => {}));
    await groups.expectMove(Promise.reject(new Error('it did not start')));
  },
);

test('version 2: what is written for each limit, and how its files are read', [], async () => {
  const mount = mkdtempSync(join(tmpdir(), 'skerry-cgroup-'));
  const folder = join(mount, 'skerry/web');
  mkdirSync(folder, { recursive: true });
  const put = (file: string, text: string) => writeFileSync(join(folder, file), text);
  const says = (file: string) => readFileSync(join(folder, file), 'utf8');
  for (const file of ['memory.max', 'memory.swap.max', 'cpu.max', 'cpu.weight', 'pids.max', 'io.weight']) put(file, '');
  put('cpu.stat', 'usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n');
  put('memory.current', '4096\n');
  put('pids.current', '3\n');
  put('memory.events', 'low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\noom_group_kill 0\n');
  put(
    'memory.pressure',
    'some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n',
  );
  put('cpu.pressure', 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n');
  const v2 = { mount, controllers: ['memory', 'cpu', 'pids', 'io'] as const, own: '/' };
  const groups = await Cgroups.open('skerry', { mode: 'v2', v1: new Map(), v2, own: null, mounts: [mount] });
  const group = groups.get('web');
  const limits = { memoryBytes: 64 * MIB, cpuMillicores: 1500, cpuWeight: 300, pids: 32, ioWeight: 50 };
  assert.equal(await group.setLimits(limits), []);
  assert.equal(['memory.max', 'memory.swap.max', 'cpu.max', 'cpu.weight', 'pids.max', 'io.weight'].map(says), [
    '67108864',
    '0',
    '150000 100000',
    '300',
    '32',
    'default 50',
  ]);
  assert.equal(await group.usage(), { cpuUs: 1_234_567, memoryBytes: 4096, pids: 3 });
  assert.is(await group.oomKills(), 2);
  const none = { avg10: 0, avg60: 0, avg300: 0 };
  assert.equal(await group.pressure('memory'), {
    some: { avg10: 1.5, avg60: 0.25, avg300: 0, totalUs: 12_345 },
    full: { ...none, totalUs: 99 },
  });
  assert.equal(await group.pressure('cpu'), { some: { ...none, totalUs: 1 }, full: null });
  assert.is(await group.pressure('io'), null);
  rmSync(join(folder, 'memory.swap.max'));
  rmSync(join(folder, 'io.weight'));
  assert.equal(await group.setLimits({ memoryBytes: MIB, ioWeight: 5 }), ['swap', 'ioWeight']);
  rmSync(mount, { recursive: true });
});

test('the layout is found by looking: version 1, version 2, and both', [], async () => {
  const v1 = [
    '30 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755',
    '31 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct',
    '32 30 0:30 / /sys/fs/cgroup/memory\\040here rw - cgroup cgroup rw,memory',
    '33 30 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
  ].join('\n');
  const v2 = '40 23 0:40 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate';
  const beside = '41 30 0:41 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw';
  const look = (mountinfo: string, membership = '0::/', controllers = 'cpuset cpu io memory pids\n') =>
    cgroupLayout({ mountinfo, membership, controllers: async () => controllers });

  const one = await look(v1);
  assert.is(one.mode, 'v1');
  assert.equal(
    [...one.v1],
    [
      ['cpu', '/sys/fs/cgroup/cpu,cpuacct'],
      ['cpuacct', '/sys/fs/cgroup/cpu,cpuacct'],
      ['memory', '/sys/fs/cgroup/memory here'],
    ],
  );
  assert.is(one.mounts.length, 3);
  assert.is(one.own, '/sys/fs/cgroup/cpu,cpuacct');
  assert.is((await look(v1, '3:memory:/b\n2:cpu,cpuacct:/a\n0::/c')).own, '/sys/fs/cgroup/cpu,cpuacct/a');
  const two = await look(v2, '0::/system.slice/skerry.service');
  assert.is(two.mode, 'v2');
  assert.equal(two.v2, {
    mount: '/sys/fs/cgroup',
    controllers: ['cpu', 'io', 'memory', 'pids'],
    own: '/system.slice/skerry.service',
  });
  assert.is(two.own, '/sys/fs/cgroup/system.slice/skerry.service');
  const both = await look(`${v1}\n${beside}`, '4:memory:/\n0::/', 'pids memory');
  assert.is(both.mode, 'hybrid');
  assert.equal(both.v2?.controllers, ['pids']);
  // A container without a cgroup namespace sees its own part mounted, and the path of all of it.
  const part = v2.replace(' / /sys', ' /machine/box /sys');
  assert.is((await look(part, '0::/machine/box/init')).v2?.own, '/init');
  assert.is((await look('')).mode, 'none');
  assert.is((await refused(Cgroups.open('skerry', await look('')))).code, 'ENOTSUP');
});

run();
