/** What the launcher makes of a process before it becomes a command: looked at from inside. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../errors/project-root.ts';

const run = promisify(execFile);
const launcher = join(projectRoot, 'native', 'host', 'skerry-launcher');
const BUSYBOX = '/bin/busybox';
const missing = [launcher, BUSYBOX].find((path) => !existsSync(path)) ?? (process.getuid!() === 0 ? undefined : 'root');
const launching = suite('launcher');
const test = (what: string, work: (folder: string) => Promise<void>) => {
  if (missing !== undefined) {
    console.log(`skipped: the launcher: ${what}, since that needs ${missing}`);
    return launching.skip(what);
  }
  launching(what, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-launcher-'));
    try {
      await work(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
};

/** Status and what it said. */
async function launch(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  try {
    const { stdout, stderr } = await run(launcher, args, { timeout: 20_000 });
    return { status: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, out: stdout, err: stderr };
  }
}

const shell = (script: string) => ['--', '/bin/sh', '-c', script];

test('a command becomes it, with its arguments and its status', async () => {
  assert.equal(await launch('--', '/bin/echo', 'a b', '--', 'c'), { status: 0, out: 'a b -- c\n', err: '' });
  assert.is((await launch(...shell('exit 7'))).status, 7);
});

const refusals: [string, string[], RegExp][] = [
  ['an option that it does not know', ['--bogus', 'x', ...shell('true')], /--bogus: unknown option/],
  ['a value that is missing', ['--chroot'], /--chroot: unknown, or its value is missing/],
  ['no command', ['--nice', '1'], /no command/],
  ['a number that is none', ['--nice', '1x', ...shell('true')], /--nice: "1x" is not a number/],
  ['an empty range', ['--user-namespace', '0:1000:0', ...shell('true')], /the range is empty or too large/],
  ['a range beyond all ids', ['--user-namespace', '0:4294967290:100', ...shell('true')], /too large/],
  ['a root without layers', ['--root', '/tmp', ...shell('true')], /--root and --lower go together/],
  [
    'a layer that is not there',
    ['--root', '/tmp', '--lower', '/nowhere', ...shell('true')],
    /cannot open the layer \/nowhere: No such file/,
  ],
  ['a folder that is not there', ['--chroot', '/nowhere', ...shell('true')], /cannot open \/nowhere: No such file/],
  ['a program that is not there', ['--', '/nowhere'], /cannot run \/nowhere: No such file/],
  ['a runtime that is asked for something else', ['--as-runtime', '--', '/bin/echo', 'state'], /has no `create`/],
  ['a descriptor that is not open', ['--keep', '77', ...shell('true')], /cannot keep descriptor 77/],
];
for (const [what, args, message] of refusals) {
  test(`${what} is told in one line, with status 125`, async () => {
    const { status, out, err } = await launch(...args);
    assert.is(status, 125);
    assert.is(out, '');
    assert.match(err, message);
    assert.is(err.trim().split('\n').length, 1);
  });
}

test('a user has no groups, no capabilities, none to gain, and cannot come back', async () => {
  const { out } = await launch(
    '--user',
    '61734:61735',
    ...shell('cat /proc/self/status; chown 0:0 /tmp 2>&1; cat /etc/shadow 2>&1'),
  );
  const value = (name: string) => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(out)?.[1];
  assert.is(value('Uid'), '61734\t61734\t61734\t61734');
  assert.is(value('Gid'), '61735\t61735\t61735\t61735');
  assert.is(value('Groups'), '');
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.is(value(set), '0000000000000000');
  assert.is(value('NoNewPrivs'), '1');
  assert.match(out, /Operation not permitted/);
  assert.match(out, /Permission denied/);
});

test('in place of a runtime: what is made is started at once, and its stdin ends and is no device of the host', async () => {
  const { out } = await launch('--as-runtime', '--', '/bin/echo', '--root', '/r', 'create', '--bundle', 'create');
  assert.is(out, '--root /r run --detach --bundle create\n');
  const script = 'readlink /proc/self/fd/0; cat; echo "$@"';
  const child = spawn(launcher, ['--as-runtime', '--', '/bin/sh', '-c', script, 'sh', 'create'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = await once(child.stdout!, 'data');
  assert.match(String(said), /^pipe:/);
  await once(child, 'exit');
});

test('descriptors are closed but for those that are named', async (folder) => {
  const file = openSync(join(folder, 'kept'), 'w');
  const script = 'ls /proc/self/fd | tr "\\n" " "; echo said >&3';
  const child = spawn(launcher, ['--keep', '3', ...shell(script)], {
    stdio: ['ignore', 'pipe', 'inherit', file, file],
  });
  const [listed] = await once(child.stdout!, 'data');
  await once(child, 'exit');
  // `ls` has opened the folder itself.
  assert.is(String(listed).trim(), '0 1 2 3 4');
  const without = spawn(launcher, shell('ls /proc/self/fd | tr "\\n" " "'), {
    stdio: ['ignore', 'pipe', 'inherit', file, file],
  });
  const [few] = await once(without.stdout!, 'data');
  assert.is(String(few).trim(), '0 1 2 3');
});

test('a root of layers has the ids that it is told, takes what fits above, and is gone with its process', async (folder) => {
  const [top, bottom, root] = ['top', 'bottom', 'root'].map((name) => join(folder, name)) as [string, string, string];
  for (const path of [top, bottom, root]) mkdirSync(path);
  writeFileSync(join(top, 'same'), 'top');
  writeFileSync(join(bottom, 'same'), 'bottom');
  writeFileSync(join(bottom, 'below'), 'below');
  for (const path of [top, join(top, 'same')]) chownSync(path, 300_000, 300_005);
  for (const name of ['same', 'below']) chownSync(join(bottom, name), 300_007, 300_000);
  const layers = ['--root', root, '--lower', top, '--lower', bottom, '--idmap', '300000:500000:65536'];
  const look = `cd ${root}; cat same below; stat -c " %u:%g" . same below; grep -c " ${root} " /proc/self/mountinfo`;
  const written = 'head -c 100000 /dev/zero > some && echo some; head -c 3000000 /dev/zero > much || echo full';
  const { out } = await launch(...layers, '--upper', '1000000', ...shell(`${look}; ${written}`));
  assert.match(out, /^topbelow 500000:500000\n 500000:500005\n 500007:500000\n[12]\nsome\nfull\n$/);
  const { out: refused } = await launch(...layers, ...shell(`echo x > ${root}/new || echo read-only`));
  assert.is(refused, 'read-only\n');
  assert.equal(readdirSync(root), []);
  assert.equal(readdirSync(top), ['same'], 'nothing was written into a layer');
});

test('the root of a user namespace in a folder of its own is nobody outside, and sees nothing else', async (folder) => {
  mkdirSync(join(folder, 'bin'));
  copyFileSync(BUSYBOX, join(folder, 'bin', 'sh'));
  chownSync(folder, 500_000, 500_000);
  const inside = ['--user-namespace', '0:500000:65536', '--chroot', folder, '--', '/bin/sh', '-c'];
  const { out } = await launch(...inside, 'echo $(id -u) *; echo made > /file; cd ..; cd ..; echo *');
  assert.is(out, '0 bin\nbin file\n');
  const { out: owner } = await launch(...shell(`stat -c %u:%g ${join(folder, 'file')}`));
  assert.is(owner, '500000:500000\n');
});

test('what stands alone is the first of its processes, in namespaces of its own, and tells its status', async () => {
  const names = ['pid', 'ipc', 'uts', 'cgroup', 'net'];
  const script = `echo $$; for name in ${names.join(' ')}; do readlink /proc/thread-self/ns/$name; done; exit 7`;
  const mounted = `mount -t proc proc /proc; ${script}`;
  const { status, out } = await launch('--mount-namespace', '--isolate', ...shell(mounted));
  assert.is(status, 7);
  const [pid, ...namespaces] = out.trim().split('\n');
  assert.is(pid, '1');
  const { out: own } = await launch(...shell(script));
  const others = own.trim().split('\n').slice(1);
  for (const [i, name] of names.entries()) {
    const isOwn = name !== 'net';
    assert.is(namespaces[i] !== others[i], isOwn, name);
  }
  assert.is((await launch('--isolate', ...shell('kill -9 $$; exit 3'))).status, 3, 'its first process hears no signal');
});

test('what stands alone ends with what waits for it, and that with whoever started it', async () => {
  const child = spawn(launcher, ['--isolate', '--user', '61734:61734', ...shell('echo in; exec sleep 1000')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
  child.kill('SIGKILL');
  // All that held its output has ended.
  await once(child.stdout!, 'close');
});

test('a device can be used where it is shown as one', async (folder) => {
  const shown = join(folder, 'root');
  mkdirSync(shown);
  const look = shell(`head -c 3 ${shown}/zero | od -An -tx1`);
  const { out } = await launch('--hide', shown, '--device', `/dev/zero:${shown}/zero`, ...look);
  assert.is(out.trim(), '00 00 00');
  const { err } = await launch('--hide', shown, '--bind', `/dev/zero:${shown}/zero`, ...look);
  assert.match(err, /Permission denied/);
});

test('what the kernel has is told as JSON', async () => {
  const found = JSON.parse((await launch('--probe')).out);
  assert.is(found.userNamespaces, true);
  assert.type(found.idmappedLayers, 'boolean');
});

test('the devices that everybody needs are made anew for a command: it cannot touch those of the host', async (folder) => {
  const at = join(folder, 'devices');
  mkdirSync(at);
  const mode = () => statSync('/dev/null').mode & 0o777;
  const before = mode();
  try {
    const script = `${BUSYBOX} chmod 0 /dev/null; ${BUSYBOX} stat -c %a /dev/null; ${BUSYBOX} head -c 3 /dev/zero | ${BUSYBOX} wc -c; ${BUSYBOX} ls ${at}`;
    assert.is((await launch('--own-devices', at, ...shell(script))).out, '0\n3\n');
    assert.is(mode(), before);
  } finally {
    chmodSync('/dev/null', before);
  }
});

launching.run();
