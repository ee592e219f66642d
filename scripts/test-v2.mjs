// `npm run test:v2`: boots a Debian kernel with nothing but cgroup v2 in QEMU and runs the tests of containers and of the host
// layer in it, the same files as `npm test` does. Ends with `N passed, N failed, N skipped`; where there is no QEMU or no
// kernel to be had it is one that was skipped. Arguments after `--` are patterns of test files.
//
// SKERRY_TEST_CGROUP=v1 mounts v1's controllers instead, as older distributions do: CPU and its accounting in one hierarchy.
// SKERRY_TEST_KERNEL names a folder with another kernel, unpacked: `boot/vmlinuz-*` and `lib/modules/`.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boot } from './machine/boot.mjs';
import { makeDisk, makeInitial } from './machine/disk.mjs';
import { kernelFolder } from './machine/kernel.mjs';
import { Unavailable } from './machine/unavailable.mjs';
import { root, run, say, setup } from './setup.mjs';
import { CONTAINER_PACKAGES, CONTAINER_TEST_PACKAGES, installSystemPackages } from './system-packages.mjs';
import { countsLine, summaryOf } from './test-counts.mjs';

/** All of it takes some minutes, emulated. */
const TIMEOUT_MS = 9 * 60_000;
/** For one file, in seconds. */
const FILE_TIMEOUT_S = 400;
const QEMU_PACKAGES = { 'qemu-system-x86': '/usr/bin/qemu-system-x86_64', e2fsprogs: '/sbin/mke2fs' };

const isV1 = process.env.SKERRY_TEST_CGROUP === 'v1';
const version = isV1 ? 'v1' : 'v2';
const V2_MOUNTS = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup';
const V1_MOUNTS = `mount -t tmpfs cgroup /sys/fs/cgroup
for controllers in cpu,cpuacct memory pids blkio freezer devices name=systemd; do
  mkdir "/sys/fs/cgroup/$controllers"
  option=$controllers
  [ "$controllers" = name=systemd ] && option=none,name=systemd
  mount -t cgroup -o "$option" cgroup "/sys/fs/cgroup/$controllers"
done
ln -s cpu,cpuacct /sys/fs/cgroup/cpu
ln -s cpu,cpuacct /sys/fs/cgroup/cpuacct`;

const mainOf = (files) => `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
${isV1 ? V1_MOUNTS : V2_MOUNTS}
ip link set lo up
cd /skerry
for file in ${files.join(' ')}; do
  echo "@@ begin $file"
  # Not at a terminal, which Node.js opens once more as it goes.
  {
    timeout -s KILL ${FILE_TIMEOUT_S} ${process.execPath} --enable-source-maps "\${file%.ts}.js" </dev/null 2>&1
    echo "@@ end $?"
  } | cat
done
echo "@@ done"
sleep infinity
`;

function wantedFiles() {
  const patterns = process.argv.slice(2);
  const host = readdirSync(join(root, 'test/native/host')).map((name) => `test/native/host/${name}`);
  const others = ['test/daemon/hostd/container-config.test.ts', 'test/runtime/drivers/container/driver.test.ts'];
  const files = [...host.filter((name) => name.endsWith('.test.ts')).sort(), ...others];
  return files.filter((file) => patterns.length === 0 || patterns.some((each) => file.includes(each)));
}

const totals = { passed: 0, failed: 0, skipped: 0 };
const reasons = [];

function tell(file, status, lines, started) {
  const output = lines.join('\n');
  const found = summaryOf(output, status === 0);
  for (const each of Object.keys(totals)) totals[each] += found[each];
  reasons.push(...found.reasons);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  say(
    `${found.failed === 0 ? 'ok    ' : 'FAILED'} ${file} in cgroup ${version} (${found.passed} passed, ${seconds} s)`,
  );
  if (found.failed > 0) process.stdout.write(`${output}\n`);
}

async function runIn(kernel, files, work) {
  const [disk, initial] = [join(work, 'disk.ext4'), join(work, 'initial.cpio')];
  await makeDisk(disk, { main: mainOf(files), tests: files, work });
  makeInitial(initial, kernel, work);
  say(`booting ${readdirSync(join(kernel, 'lib/modules')).join()} in QEMU with cgroup ${version} alone`);
  const waiting = [...files];
  let [lines, started, isDone] = [[], performance.now(), false];
  const onLine = (line) => {
    const [, word, rest] = /^@@ (begin|end|done) ?(.*)$/.exec(line) ?? [];
    if (word === undefined) lines.push(line);
    if (word === 'begin') [lines, started] = [[], performance.now()];
    if (word === 'end') tell(waiting.shift(), Number(rest), lines, started);
    isDone ||= word === 'done';
    return isDone;
  };
  const kernelArguments = `psi=1 mitigations=off${isV1 ? '' : ' cgroup_no_v1=all'}`;
  await boot({ kernel, initial, disk }, { kernelArguments, timeoutMs: TIMEOUT_MS, onLine });
  if (isDone) return;
  process.stdout.write(`the machine stopped before the end; its last words:\n${lines.slice(-40).join('\n')}\n`);
  totals.failed += Math.max(waiting.length, 1);
}

await setup({ development: true });
installSystemPackages({ ...CONTAINER_PACKAGES, ...CONTAINER_TEST_PACKAGES }, 'containers');
installSystemPackages(QEMU_PACKAGES, 'a machine with cgroup v2 alone');
run(process.execPath, [join(root, 'scripts', 'build-native.mjs'), 'host']);
run(process.execPath, [join(root, 'scripts', 'build-programs.mjs')]);
const work = mkdtempSync(join(tmpdir(), 'skerry-machine-'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
try {
  const missing = Object.values(QEMU_PACKAGES).find((path) => !existsSync(path));
  if (missing) throw new Unavailable(`${missing} is missing`);
  await runIn(kernelFolder(), wantedFiles(), work);
} catch (error) {
  if (!(error instanceof Unavailable)) throw error;
  reasons.push(`skipped: tests in a machine with cgroup ${version} alone, since ${error.message}`);
  totals.skipped++;
}
for (const reason of reasons) process.stdout.write(`${reason}\n`);
process.stdout.write(countsLine(totals));
process.exit(totals.failed === 0 && totals.passed + totals.skipped > 0 ? 0 : 1);
