/** Groups of processes on the machine's own kernel: frozen, counted, ended and removed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type ContainerGroup,
  controlGroups,
  findHierarchies,
  type Hierarchies,
  parseMounts,
} from '../../../daemon/hostd/control-groups.ts';

const groups = suite('control groups');
const root = process.getuid!() === 0;
const test = (what: string, work: (scene: Scene) => Promise<void>) => {
  if (root) return groups(what, () => inGroup(work));
  console.log(`skipped: ${what}, since that needs root`);
  groups.skip(what);
};

interface Scene {
  readonly group: ContainerGroup;
  /** Its folders, one for each hierarchy. */
  readonly folders: string[];
  /** Runs a shell script in it. */
  run(script: string): ReturnType<typeof spawn>;
}

let serial = 0;

function foldersOf({ v1, v2, v2Controllers }: Hierarchies, path: string): string[] {
  if (v2 !== null && v2Controllers.includes('memory')) return [join(v2, path)];
  return [...new Set(v1.values())]
    .filter((mount) => ['freezer', 'memory', 'pids', 'cpuacct'].some((name) => v1.get(name) === mount))
    .map((mount) => join(mount, path));
}

async function inGroup(work: (scene: Scene) => Promise<void>): Promise<void> {
  const found = await findHierarchies();
  const group = controlGroups(found).group(`test-${process.pid}-${++serial}`);
  const folders = foldersOf(found, group.path);
  for (const folder of folders) mkdirSync(folder, { recursive: true });
  const join_ = folders.map((folder) => `echo 0 > ${folder}/cgroup.procs`).join('; ');
  const run = (script: string) => spawn('sh', ['-c', `${join_}; ${script}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await work({ group, folders, run });
  } finally {
    await group.thaw();
    await group.kill();
    await group.remove();
    for (const folder of folders) assert.not(existsSync(folder), `${folder} is left`);
  }
}

/** Resolves with the first that it prints. */
const says = async (child: ReturnType<typeof spawn>) => String((await once(child.stdout!, 'data'))[0]);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('a frozen group uses no processor time, and goes on where it was', async ({ group, run }) => {
  await says(run('echo started; while true; do :; done'));
  await group.freeze();
  const before = await group.usage();
  await pause(200);
  const after = await group.usage();
  assert.is(after.cpuMs, before.cpuMs);
  assert.ok(after.processes >= 1);
  assert.ok(after.memoryBytes > 0);
  await group.thaw();
  await pause(200);
  assert.ok((await group.usage()).cpuMs > after.cpuMs);
});

test('a group that forks without end is ended, all of it', async ({ group, folders, run }) => {
  await says(run('f() { while [ $(ls /proc | grep -c "^[0-9]") -lt 300 ]; do f & done; sleep 60; }; echo started; f'));
  await pause(100);
  await group.kill();
  for (const folder of folders) assert.is(readFileSync(join(folder, 'cgroup.procs'), 'utf8'), '');
});

test('a frozen group is ended too', async ({ group, run }) => {
  const child = run('echo started; sleep 60');
  await says(child);
  await group.freeze();
  await group.kill();
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  assert.is(child.signalCode, 'SIGKILL');
});

test('what a container made inside of its group goes with it', async ({ folders }) => {
  for (const folder of folders) mkdirSync(join(folder, 'inner', 'most'), { recursive: true });
});

test('one that is not there is frozen, ended and removed without a word', async () => {
  const group = controlGroups(await findHierarchies()).group('never-made');
  await group.freeze();
  await group.thaw();
  await group.kill();
  await group.remove();
  assert.is((await group.usage()).memoryBytes, 0);
});

groups('hierarchies are found where they are mounted, spaces and all', () => {
  const info = [
    '24 1 0:21 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755',
    '25 24 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate',
    '26 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
    '27 24 0:24 / /mnt/with\\040space rw - cgroup cgroup rw,memory',
    '28 24 0:25 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer',
  ].join('\n');
  const { v1, v2 } = parseMounts(info);
  assert.is(v2, '/sys/fs/cgroup/unified');
  assert.is(v1.get('memory'), '/mnt/with space');
  assert.is(v1.get('cpuacct'), '/sys/fs/cgroup/cpu,cpuacct');
  assert.equal(controlGroups({ v1, v2, v2Controllers: [] }).unmounts, ['/sys/fs/cgroup/unified']);
  assert.is(controlGroups({ v1, v2, v2Controllers: ['cpu', 'memory'] }).version, 2);
  assert.throws(() => controlGroups({ v1: new Map(), v2: null, v2Controllers: [] }), /no control groups/);
});

groups.run();
