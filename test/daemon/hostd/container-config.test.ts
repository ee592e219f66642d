/** What a process sees and can do inside a container of ours: run by the real runtime, asked from inside. */
import { execFile } from 'node:child_process';
import {
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CAPABILITIES, containerConfig } from '../../../daemon/hostd/container-config.ts';
import { writeNameFiles } from '../../../daemon/hostd/name-files.ts';
import { SeccompProfile, seccompFilter } from '../../../daemon/hostd/seccomp.ts';
import { cgroupLayout } from '../../../native/host/index.ts';
import type { ContainerSpec } from '../../../runtime/drivers/container/host.ts';
import { testUnless } from '../../support/test-unless.ts';

const run = promisify(execFile);
const PROFILE = '/usr/share/containers/seccomp.json';
const BUSYBOX = '/bin/busybox';
const FIRST_ID = 700_000;

const missing =
  process.getuid!() !== 0 ? 'root' : ['/usr/bin/crun', PROFILE, BUSYBOX].find((path) => !existsSync(path));
const containers = suite('container configuration');
const test = (what: string, work: () => Promise<void>) =>
  testUnless(containers, missing ? `that needs ${missing}` : null, what, work);

const spec: ContainerSpec = {
  hostname: 'inside',
  command: ['/bin/sh', '-c', 'true'],
  env: ['PATH=/bin', 'GREETING=hello'],
  directory: '/',
  user: { uid: 0, gid: 0, groups: [] },
  memoryBytes: 32 * 2 ** 20,
  cpuMillicores: 500,
  cpuWeight: 100,
  pids: 32,
  scratch: [{ path: '/tmp', bytes: 2 ** 20 }],
  writableRoot: false,
};

let serial = 0;

/** Runs a shell script inside; its output, and its status. */
async function inside(script: string, over: Partial<ContainerSpec> = {}): Promise<{ status: number; out: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-bundle-'));
  const id = `skerry-test-${process.pid}-${++serial}`;
  const root = join(folder, 'root');
  for (const path of [folder, root, join(root, 'bin')]) {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    chownSync(path, FIRST_ID, FIRST_ID);
  }
  for (const name of ['proc', 'dev', 'tmp']) mkdirSync(join(root, name));
  copyFileSync(BUSYBOX, join(root, 'bin/busybox'));
  for (const name of [
    'sh',
    'cat',
    'ls',
    'id',
    'mount',
    'dd',
    'head',
    'wc',
    'ping',
    'unshare',
    'sleep',
    'hostname',
    'env',
    'grep',
    'nc',
    'mknod',
    'chown',
    'ps',
    'ip',
    'touch',
    'chroot',
    'dmesg',
  ]) {
    symlinkSync('busybox', join(root, 'bin', name));
  }
  writeNameFiles(folder, spec.hostname);
  const profile = SeccompProfile.parse(JSON.parse(readFileSync(PROFILE, 'utf8')));
  const config = containerConfig(
    { ...spec, command: ['/bin/sh', '-c', script], ...over },
    {
      root,
      ids: { first: FIRST_ID, count: 65_536 },
      cgroup: { path: `/skerry-test/${id}`, isV2: (await cgroupLayout()).mode === 'v2' },
      networkNamespace: '/proc/self/ns/net',
      binds: [],
      seccomp: seccompFilter(profile, CAPABILITIES),
      nameFiles: folder,
    },
  );
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  // A network of its own, as the node makes it before; and crun 1.8 takes no empty v2 beside v1.
  const prepare =
    'ip link set lo up; echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start; umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"';
  const args = [
    '--net',
    '--mount',
    'sh',
    '-c',
    prepare,
    'sh',
    'crun',
    '--cgroup-manager=cgroupfs',
    'run',
    '--bundle',
    folder,
    id,
  ];
  try {
    const { stdout, stderr } = await run('unshare', args, { timeout: 30_000 });
    return { status: 0, out: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, out: stdout + stderr };
  } finally {
    await run('crun', ['delete', '-f', id]).catch(() => {});
    rmSync(folder, { recursive: true, force: true });
  }
}

test('it is root inside and nobody outside, with the environment and hostname that it was given', async () => {
  const { out } = await inside('id -u; cat /proc/self/uid_map; echo $GREETING; hostname');
  assert.match(out, /^0\n\s+0\s+700000\s+65536\nhello\ninside\n$/);
});

test('it sees its own processes alone, and no host file system', async () => {
  const { out } = await inside('ls /proc | grep -c "^[0-9]"; ls /; ls /sys 2>&1; cat /proc/1/comm; ls /etc');
  assert.match(out, /^2\n|^3\n/);
  assert.not.match(out, /\b(?:usr|home|root|passwd|hostname)\b/);
  assert.match(out, /\nhosts\nresolv.conf\n$/);
  assert.match(out, /\/sys: No such file/);
});

test('its root is read-only, and its memory folders are bounded', async () => {
  const { out } = await inside(
    'touch /a 2>&1; touch /bin/a 2>&1; dd if=/dev/zero of=/tmp/a bs=1M count=4 2>&1 | head -1; wc -c < /tmp/a; for d in /dev /dev/shm; do touch $d/x && echo $d; done',
  );
  assert.match(out, /\/a: Read-only file system/);
  assert.match(out, /No space left on device/);
  assert.match(out, /^1048576$/m);
});

const refused: [string, string][] = [
  ['mount', 'mount -t tmpfs tmpfs /tmp'],
  ['a user namespace', 'unshare -U true'],
  ['a network namespace', 'unshare -n true'],
  ['a device node', 'mknod /tmp/d c 1 1'],
  ['a raw socket', 'ping -c1 -W1 127.0.0.1'],
  ['chroot', 'chroot /bin busybox true'],
  ['the kernel log', 'dmesg'],
  ['a setting of the kernel', 'echo 1 > /proc/sys/kernel/panic'],
  ['the magic request key', 'echo h > /proc/sysrq-trigger'],
  ['its own limits', 'echo -1 > /proc/self/oom_score_adj'],
];
for (const [what, command] of refused) {
  test(`what it may not: ${what}`, async () => {
    const { out } = await inside(`(${command}) 2>/dev/null && echo done || echo refused`);
    assert.match(out, /refused\n$/, out);
    assert.not.match(out, /^done$/m);
  });
}

test('it has few capabilities, gains none, and a filter on its system calls', async () => {
  const { out } = await inside('grep -E "^(Cap|NoNewPrivs|Seccomp)" /proc/self/status');
  const value = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(out)?.[1];
  // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE (linux/capability.h).
  assert.is(BigInt(`0x${value('CapEff')}`), 0b10011111011n);
  assert.is(value('CapBnd'), value('CapEff'));
  assert.is(value('CapAmb'), '0000000000000000');
  assert.is(value('NoNewPrivs'), '1');
  assert.is(value('Seccomp'), '2');
});

test('what is secret of the kernel is masked', async () => {
  const { out } = await inside(
    'for f in kcore keys timer_list; do head -c1 /proc/$f 2>/dev/null | wc -c; done; ls /proc/scsi /proc/acpi 2>/dev/null | grep -v : | wc -w',
  );
  assert.is(out.replaceAll(/\s+/g, ' ').trim(), '0 0 0 0');
});

test('a program that is not root inside has no capabilities', async () => {
  const { out } = await inside(
    'id -u; grep CapEff /proc/self/status; touch /tmp/mine && ls -ln /tmp | grep -c " 1000 "',
    {
      user: { uid: 1000, gid: 1000, groups: [] },
    },
  );
  assert.match(out, /^1000\nCapEff:\s+0{16}\n1\n$/);
});

test('memory beyond its limit ends it alone', async () => {
  const { status } = await inside('a=x; while true; do a=$a$a; done');
  assert.is(status, 137);
});

test('processes beyond its limit are not made', async () => {
  const { out } = await inside('n=0; while [ $n -lt 100 ]; do sleep 60 & n=$((n+1)); done 2>&1; echo after');
  assert.match(out, /fork: Resource temporarily unavailable/);
});

test('its network is loopback alone', async () => {
  const { out } = await inside('cat /proc/net/dev | grep -c ":"; cat /proc/net/dev | grep lo');
  assert.match(out, /^1\n\s*lo:/);
});

test('it can listen on a low port and be reached there', async () => {
  const { out } = await inside('(echo answer | nc -l -p 80 127.0.0.1) & sleep 0.3; sleep 1 | nc 127.0.0.1 80', {});
  assert.match(out, /answer/);
});

containers.run();
