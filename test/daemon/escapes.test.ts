/** Attacks from inside of containers of a whole node: what a process, what `exec` starts and an image itself may try. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import { cProgram, whyNoCompiler } from '../support/c-program.ts';
import { assertFailure, type Result, skerry } from '../support/cli.ts';
import { removeContainers, whyNoContainers } from '../support/container-node.ts';
import { busyboxLayer, LayoutBuilder, layerOf } from '../support/image-builder.ts';
import { file, folder, symlink, type TarEntry } from '../support/tar-writer.ts';
import { ask, discard, type ProcessNode, startProcess } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

interface Scene {
  readonly place: string;
  readonly node: ProcessNode;
  /** Of the admin API over TCP. */
  readonly adminPort: number;
  /** Busybox, and the program of `escapes/attempts.c`. */
  readonly image: string;
}

const why = (await whyNoContainers()) ?? whyNoCompiler();
const escapes = suite<Scene>('ways out of a container');
const test = (what: string, work: (scene: Scene) => Promise<void>) => testUnless(escapes, why, what, work);

const TOKEN = 'a token of the admin API';
const PAGE = 'the neighbour answers';

escapes.before(async (scene) => {
  if (why !== null) return;
  const place = mkdtempSync(join(tmpdir(), 'skerry-escapes-'));
  const adminPort = await freePort();
  const admin = { args: ['--admin', `127.0.0.1:${adminPort}`], env: { SKERRY_ADMIN_TOKEN: TOKEN } };
  const node = await startProcess(admin);
  Object.assign(scene, { place, node, adminPort });
  const program = cProgram(join(projectRoot, 'test/daemon/escapes/attempts.c'));
  Object.assign(scene, {
    image: imageOf(scene, 'attacker', [file('attempts', program, { mode: 0o755 }), folder('volume/')]),
  });
  const page = [folder('www/'), file('www/index.html', PAGE)];
  const httpd = { Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'], ExposedPorts: { '8080/tcp': {} } };
  const neighbour = imageOf(scene, 'neighbour', page, httpd);
  await done(on(scene, 'deploy', neighbour, '--name', 'neighbour', '--min', '1', '--volume', 'private:/data'));
  await node.admin.deploy('function');
});
escapes.after(async ({ place, node }) => {
  if (why !== null) return;
  await discard(node);
  await removeContainers(node.data);
  rmSync(place, { recursive: true, force: true });
});

/** Nobody has it now. */
async function freePort(): Promise<number> {
  const server = await listening({ port: 0, host: '127.0.0.1' });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(where: { port: number; host: string } | { path: string }): Promise<Server> {
  const server = createServer((socket) => socket.end('reached'));
  await new Promise<void>((resolve) => server.listen(where, resolve));
  return server;
}

const on = ({ node }: Scene, ...args: string[]) => skerry(args, { data: node.data });

async function done(result: Promise<Result>): Promise<string> {
  const { status, stdout, stderr } = await result;
  assert.is(status, 0, stderr);
  return stdout;
}

function imageOf({ place }: Scene, name: string, entries: readonly TarEntry[], config: object = {}): string {
  const layout = new LayoutBuilder(join(place, name));
  layout.image([busyboxLayer(), layerOf(entries)], 'v1', { Cmd: ['sleep', '10000'], ...config });
  return `oci:${layout.folder}:v1`;
}

/** What a script prints, both streams together, as the first process of a container. */
async function inside(scene: Scene, script: string, ...flags: string[]): Promise<string> {
  const { stdout, stderr } = await on(scene, 'run', '--rm', ...flags, scene.image, 'sh', '-c', script);
  return stdout + stderr;
}

/** While a container does its worst: those beside it and the node answer as ever. */
async function allAnswer({ node }: Scene): Promise<void> {
  assert.is((await ask(node.url, { path: '/neighbour/' })).body.toString(), PAGE);
  assert.is((await ask(node.url, { path: '/function/hello' })).status, 200);
  assert.is((await node.admin.call('GET', '/v1/node')).status, 200);
}

/** What says no: the filter, the lack of a capability or of a file, a read-only place. Not: wrong arguments. */
const REFUSED = /: refused (?:EPERM|ENOSYS|EACCES|EROFS|ENOENT|SIGSYS)$/;

function assertAllRefused(output: string): void {
  const lines = output.trimEnd().split('\n');
  assert.is(lines.pop(), 'all tried', output.slice(-200));
  assert.ok(lines.length > 250, `${lines.length} attempts`);
  assert.equal(
    lines.filter((line) => !REFUSED.test(line)),
    [],
  );
}

const ATTACKER = ['--writable', '8MiB', '--volume', 'loot:/volume:8MiB'];

test('no system call leads out of a process', async (scene) => {
  assertAllRefused(await done(on(scene, 'run', '--rm', ...ATTACKER, scene.image, '/attempts')));
});

test('none leads out of what exec starts, in a process or in a workload', async (scene) => {
  await done(on(scene, 'run', '-d', '--name', 'cell', ...ATTACKER, scene.image));
  assertAllRefused(await done(on(scene, 'exec', 'cell', '/attempts')));
  await done(on(scene, 'rm', 'cell'));
  const ready = ['--ready-check', 'command:true', '--name', 'workload'];
  await done(on(scene, 'deploy', scene.image, ...ready, ...ATTACKER));
  assertAllRefused(await done(on(scene, 'exec', 'workload', '/attempts')));
  await done(on(scene, 'rm', 'workload'));
});

test('files, processes and the environment of the host are not there', async (scene) => {
  const name = `skerry-escape-${process.pid}`;
  const marker = join(scene.place, name);
  writeFileSync(marker, 'a secret of the host');
  const script = `busybox find / -name "${name}*" -o -name "skerry.*" 2>/dev/null
    for way in ${marker} /proc/1/root${marker} /proc/1/cwd/../..${marker} /proc/self/root/..${marker}; do cat $way; done 2>/dev/null
    busybox kill -0 ${process.pid} && echo signalled; busybox kill -0 ${scene.node.child.pid} && echo signalled
    cat /proc/${process.pid}/cmdline /proc/${scene.node.child.pid}/environ 2>/dev/null
    busybox env; cat /proc/[0-9]*/environ; cat /proc/[0-9]*/cmdline`;
  const out = await inside(scene, script);
  assert.not.match(out, new RegExp(`secret of the host|signalled|${TOKEN}|SKERRY_|NODE_OPTIONS|conmon|crun`));
  // What `find` prints begins a line; the script itself is among the command lines.
  assert.not.match(out, /^\/\S*skerry/m);
});

test('what listens on the host is out of reach: its loopback, the gateway, the admin API, abstract sockets', async (scene) => {
  const name = `skerry-escape-${process.pid}`;
  const loopback = await listening({ port: 0, host: '127.0.0.1' });
  const any = await listening({ port: 0, host: '0.0.0.0' });
  const abstract = await listening({ path: `\0${name}` });
  try {
    const portOf = (server: Server) => (server.address() as AddressInfo).port;
    assert.is((await ask(`http://127.0.0.1:${scene.adminPort}`, { path: '/v1/node' })).status, 401, 'it does listen');
    const ports = [new URL(scene.node.url).port, new URL(scene.node.registry as string).port, scene.adminPort];
    const all = [...ports, portOf(loopback), portOf(any)];
    const tried = all.map((port) => `busybox nc -w 2 127.0.0.1 ${port} </dev/null && echo reached`).join('; ');
    const out = await inside(
      scene,
      `${tried}; busybox nc -w 2 169.254.169.254 80 </dev/null && echo reached; /attempts abstract ${name}; busybox route -n; cat /proc/net/unix`,
    );
    assert.not.match(out, /^reached|: done|skerry\.sock/m);
    assert.match(out, /an abstract socket: refused ECONNREFUSED/);
    assert.is(out.match(/Connection refused/g)?.length, all.length, out);
  } finally {
    for (const server of [loopback, any, abstract]) server.close();
  }
});

test('another workload is out of reach: its processes, ports, memory, files and name', async (scene) => {
  await done(on(scene, 'run', '-d', '--name', 'one', scene.image));
  await done(on(scene, 'exec', 'one', 'sh', '-c', '/attempts shm; echo mine > /dev/shm/note'));
  const script = `/attempts shm; cat /dev/shm/note; busybox nc -w 2 127.0.0.1 8080 </dev/null && echo reached
    busybox nslookup -type=a neighbour.skerry.internal; busybox wget -T 3 -O - http://neighbour.skerry.internal/
    cat /proc/[0-9]*/comm; cat /proc/self/uid_map`;
  const out = await inside(scene, script);
  assert.match(out, /^memory of another: refused ENOENT$/m);
  assert.match(out, /^memory of its own: done$/m);
  assert.not.match(out, new RegExp(`^(?:mine|reached|httpd|${PAGE})`, 'm'));
  const map = /^ +0 +(\d+) +\d+$/m;
  const other = await done(on(scene, 'exec', 'one', 'cat', '/proc/self/uid_map'));
  assert.is.not(map.exec(out)?.[1], map.exec(other)?.[1], 'users of their own');
  await done(on(scene, 'rm', 'one'));
});

test('the devices that everybody needs are its own: what it does to them is nothing to the host', async (scene) => {
  const mode = () => statSync('/dev/null').mode & 0o777;
  const before = mode();
  try {
    await done(on(scene, 'run', '-d', '--name', 'closing', scene.image));
    const close =
      'for each in null zero full random urandom tty; do busybox chmod 0 /dev/$each; busybox chmod 0 /proc/1/fd/0; done';
    await on(scene, 'exec', 'closing', 'sh', '-c', close);
    assert.is(mode(), before);
    assert.is(await inside(scene, 'echo here > /dev/null && busybox head -c 3 /dev/zero | busybox wc -c'), '3\n');
    await done(on(scene, 'rm', 'closing'));
  } finally {
    chmodSync('/dev/null', before);
  }
});

test('exec cannot be made to run, to write or to leak what starts it', async (scene) => {
  const runtime = readFileSync('/usr/bin/crun');
  // CVE-2019-5736: what the runtime becomes inside would be the host's own program, open to be written.
  const lie = imageOf(scene, 'lie', [
    file('run', '#!/proc/self/exe\n', { mode: 0o755 }),
    symlink('itself', '/proc/self/exe'),
  ]);
  const script = `while true; do for each in /proc/[0-9]*; do
      case $(busybox readlink $each/exe) in */crun|*memfd*) echo x >> $each/exe && echo written;; esac
    done; done 2>/dev/null`;
  await done(on(scene, 'run', '-d', '--name', 'waiting', '--cpus', '1', lie, 'sh', '-c', script));
  for (const program of ['/run', '/itself', '/proc/self/exe', 'true']) {
    const { stdout } = await on(scene, 'exec', 'waiting', program, '--version');
    assert.not.match(stdout, /crun version/, `${program} is no program of the host`);
  }
  assert.not.match(await done(on(scene, 'logs', 'waiting')), /written/);
  assert.ok(readFileSync('/usr/bin/crun').equals(runtime));
  await done(on(scene, 'rm', 'waiting'));
});

test('a working directory that an image names leads to no descriptor of what starts it', async (scene) => {
  // CVE-2024-21626.
  for (let fd = 3; fd < 20; fd++) {
    const image = imageOf(scene, `directory-${fd}`, [file('here', '')], { WorkingDir: `/proc/self/fd/${fd}` });
    const { stdout, stderr } = await on(
      scene,
      'run',
      '--rm',
      image,
      'sh',
      '-c',
      'ls ../../../..; cat ../../../../etc/hostname',
    );
    assert.not.match(stdout, /\b(?:usr|home|root|boot|srv|sys)\b/, `${fd}: ${stderr}`);
  }
});

test('links in an image lead to nothing of the host, wherever the node mounts', async (scene) => {
  const outside = join(scene.place, 'outside');
  const up = '../'.repeat(12);
  const links = {
    'etc/hosts': `${up}${outside}`,
    volume: `${up}${scene.place.slice(1)}`,
    proc: `${up}tmp`,
  };
  const cases: [string, TarEntry[]][] = [
    ['hosts', [folder('etc/'), symlink('etc/hosts', links['etc/hosts'])]],
    ['hosts-absolute', [folder('etc/'), symlink('etc/resolv.conf', outside)]],
    ['volume', [symlink('volume', links.volume)]],
    ['volume-absolute', [symlink('volume', scene.place)]],
    ['proc', [symlink('proc', links.proc)]],
    ['dev', [symlink('dev', `${up}dev`)]],
  ];
  const listed = () =>
    readdirSync(scene.place)
      .filter((name) => !name.startsWith('link-'))
      .sort();
  const before = listed();
  for (const [name, entries] of cases) {
    const image = imageOf(scene, `link-${name}`, entries);
    const script = 'echo written > /volume/written; echo written > /etc/hosts; ls /volume /tmp /dev';
    const { stdout } = await on(scene, 'run', '--rm', ...ATTACKER, image, 'sh', '-c', script);
    assert.not.match(stdout, /skerry-node|kmsg|loop|vda/, name);
    assert.equal(listed(), before, name);
    assert.not(existsSync(outside), name);
  }
  await allAnswer(scene);
});

/** Those that are let loose, and are ended by the test. */
const exhausting: [string, string, string[]][] = [
  ['processes', 'f() { f | f & }; while true; do f; done', []],
  ['memory', 'a=xxxxxxxx; while true; do a=$a$a; done', ['--memory', '32MiB']],
  ['memory, by many processes', 'for i in 1 2 3 4 5 6 7 8 9; do (a=x; while true; do a=$a$a; done) & done; wait', []],
  ['its file systems', 'for d in /dev/shm /dev /volume / /tmp; do busybox yes > $d/full & done; wait', ATTACKER],
  ['inodes', 'for d in /dev/shm /dev /volume /; do i=0; while echo > $d/$i; do i=$((i+1)); done; done', ATTACKER],
  ['open files and ports', 'while true; do busybox nc -l -p 0 & busybox nc 127.0.0.1 1 & done', []],
  ['its log', 'busybox yes "a line that nobody wants to read"', []],
  ['the processor', 'for i in 1 2 3 4 5 6 7 8; do while true; do :; done & done; wait', []],
];
for (const [what, script, flags] of exhausting) {
  test(`one that exhausts ${what} costs itself alone`, async (scene) => {
    const looped = `(${script}) 2>/dev/null; echo over; sleep 10000`;
    await done(on(scene, 'run', '-d', '--name', 'greedy', ...flags, scene.image, 'sh', '-c', looped));
    for (let times = 0; times < 20; times++) await allAnswer(scene);
    await done(on(scene, 'rm', 'greedy'));
    await allAnswer(scene);
  });
}

test('a node whose container is full of processes still starts, enters and ends it', async (scene) => {
  await done(
    on(scene, 'run', '-d', '--name', 'full', scene.image, 'sh', '-c', 'while true; do sleep 1000 & done 2>/dev/null'),
  );
  const { status } = await on(scene, 'exec', 'full', 'true');
  assert.is.not(status, null);
  await done(on(scene, 'stop', 'full'));
  await done(on(scene, 'rm', 'full'));
});

test('the command line of the host is no way in: names and references never become options or paths', async (scene) => {
  for (const name of ['--help', '..', '../x', 'a/../../b', '-rf']) {
    const child = spawn(
      process.execPath,
      [join(projectRoot, 'bin/skerry.js'), 'run', `--name=${name}`, scene.image, 'true'],
      {
        env: { ...process.env, NODE_OPTIONS: '', SKERRY_DATA: scene.node.data },
        stdio: 'ignore',
      },
    );
    const status = await new Promise((resolve) => child.once('exit', resolve));
    assert.is(status, 2, name);
  }
  assertFailure(await on(scene, 'exec', '../x', 'true'), 'INVALID_REQUEST', 1, /name/);
});

escapes.run();
