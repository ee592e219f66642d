/** A microVM as its workload finds it: root, volumes, network, names, time; and how it ends. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AgentClient } from '../../../runtime/drivers/microvm/agent/client.ts';
import type { AgentRefusal } from '../../../runtime/drivers/microvm/agent/errors.ts';
import type { GuestConfiguration } from '../../../runtime/drivers/microvm/agent/messages.ts';
import { failure } from '../../support/failure.ts';
import {
  Captured,
  CONFIGURATION,
  Guest,
  type GuestOptions,
  guestLack,
  identity,
  makeRootDisk,
  makeVolume,
  process,
  run,
  shell,
} from '../../support/guest.ts';
import { testUnless } from '../../support/test-unless.ts';

const tests = suite('a microVM');
const test = (what: string, work: () => Promise<void>) => testUnless(tests, guestLack(), what, work);

let folder: string;
let root: string;

tests.before(() => {
  if (guestLack() !== null) return;
  folder = mkdtempSync(join(tmpdir(), 'skerry-machine-'));
  root = makeRootDisk(folder, 'echo root:x:0:0::/:/bin/sh > etc/passwd; ln -s /dev/null etc/hosts');
});

tests.after(() => {
  if (guestLack() === null) rmSync(folder, { recursive: true });
});

const quiet = () => ({ stdin: Readable.from([]), stdout: new Captured().stream, stderr: new Captured().stream });

/** With a machine whose workload sleeps. */
async function inMachine(
  configuration: Partial<GuestConfiguration>,
  options: Partial<GuestOptions>,
  work: (client: AgentClient, guest: Guest) => Promise<void>,
): Promise<void> {
  const guest = new Guest({ disks: [root], ...options });
  try {
    const client = await guest.connect();
    await client.restored(identity());
    await client.configure({ ...CONFIGURATION, ...configuration });
    await client.start(shell('while :; do sleep 1; done'), quiet());
    await work(client, guest);
    client.close();
  } finally {
    await guest.stop();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('has its names, its files, the time of the host, and a root that takes writes up to its bound', async () => {
  const hosts = '127.0.0.1 localhost\n192.0.2.1 elsewhere\n';
  const files = [{ path: '/etc/hosts', mode: 0o644, contents: hosts }];
  await inMachine({ files, writableBytes: 8 * 2 ** 20 }, {}, async (client) => {
    const now = Date.now() / 1000;
    const { stdout } = await run(
      client,
      shell('hostname; cat /etc/hostname /etc/hosts; wc -c </etc/machine-id; date +%s'),
    );
    const lines = stdout.trim().split('\n');
    assert.equal(lines.slice(0, 5), ['guest-1', 'guest-1', '127.0.0.1 localhost', '192.0.2.1 elsewhere', '33']);
    assert.ok(Math.abs(Number(lines[5]) - now) < 30, `${lines[5]} ${now}`);
    const full = await run(client, shell('dd if=/dev/zero of=/large bs=1M count=20; echo status $?; rm /large'));
    assert.match(full.stdout, /status 1/);
    assert.match(full.stderr, /No space left/);
    const many = await run(client, shell('i=0; while true >/many-$i; do i=$((i+1)); done; rm -f /many-*'));
    assert.match(many.stderr, /No space left/);
    assert.is(
      (await run(client, shell('echo x > /etc/new && rm /bin/yes && cat /etc/new; ls /bin/yes'))).stdout,
      'x\n',
    );
    const temporary = await run(
      client,
      shell('dd if=/dev/zero of=/tmp/large bs=1M count=20; ls -ld /tmp; rm /tmp/large'),
    );
    assert.match(temporary.stderr, /No space left/);
    assert.match(temporary.stdout, /^drwxrwxrwt/);
    assert.ok((await client.stats()).writtenBytes < 2 * 2 ** 20);
  });
});

test('has a read-only root when it is to have one, with its own names in it all the same', async () => {
  await inMachine({ readOnlyRoot: true }, {}, async (client) => {
    const { stdout, stderr } = await run(
      client,
      shell('cat /etc/hostname; echo x > /etc/new; echo x > /tmp/new && cat /tmp/new'),
    );
    assert.is(stdout, 'guest-1\nx\n');
    assert.match(stderr, /Read-only file system/);
    await client.restored({ ...identity(), hostname: 'guest-2' });
    assert.is((await run(client, shell('hostname; cat /etc/hostname'))).stdout, 'guest-2\nguest-2\n');
    assert.match((await run(client, shell('echo x > /etc/new'))).stderr, /Read-only file system/);
  });
});

test('is reached over its network, and has a loopback; any user may listen on any port', async () => {
  const port = await freePort();
  const network = { mtu: 1400, addresses: ['10.0.2.15/24', 'fd00::15/64'], gateways: ['10.0.2.2'] };
  await inMachine({ network }, { port }, async (client) => {
    const { stdout } = await run(client, shell('ip addr; ip route; cat /sys/class/net/eth0/mtu'));
    for (const part of [/10\.0\.2\.15\/24/, /fd00::15\/64/, /default via 10\.0\.2\.2/, /^1400$/m, /127\.0\.0\.1\/8/]) {
      assert.match(stdout, part);
    }
    const serve = 'mkdir /tmp/www; echo hello > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www';
    const web = { uid: 1000, gid: 1000, groups: [] };
    const server = await client.exec(shell(serve, { user: web }), quiet());
    assert.is((await run(client, shell('until wget -qO- http://127.0.0.1/; do sleep 0.1; done'))).stdout, 'hello\n');
    assert.is(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'hello\n');
    server.signal(9);
    await server.exited;
  });
});

test('keeps what is written to a volume, and ends by itself when it is asked to', async () => {
  const volume = makeVolume(join(folder, 'volume'), 16);
  const volumes = [{ disk: { device: 'vdb', fileSystem: 'ext4', readOnly: false }, path: '/data/deep' } as const];
  await inMachine({ volumes }, { disks: [root, volume] }, async (client, guest) => {
    assert.is((await run(client, shell('echo kept > /data/deep/file; cat /data/deep/file'))).stdout, 'kept\n');
    await client.powerOff(5000);
    await guest.ended;
  });
  const read = execFileSync('/sbin/debugfs', ['-R', 'cat /file', volume], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  assert.is(read, 'kept\n');
  const readOnly = [{ disk: { device: 'vdb', fileSystem: 'ext4', readOnly: true }, path: '/data' } as const];
  await inMachine({ volumes: readOnly }, { disks: [root, volume] }, async (client) => {
    const { stdout, stderr } = await run(client, shell('cat /data/file; echo x > /data/other'));
    assert.is(stdout, 'kept\n');
    assert.match(stderr, /Read-only file system/);
  });
});

test('ends a workload that does not listen to being asked', async () => {
  const guest = new Guest({ disks: [root] });
  try {
    const client = await guest.connect();
    await client.restored(identity());
    await client.configure(CONFIGURATION);
    const stdout = new Captured();
    const stubborn = shell('trap "" TERM; echo ready; while :; do sleep 1; done');
    const workload = await client.start(stubborn, { ...quiet(), stdout: stdout.stream });
    while (!stdout.text.includes('ready')) await new Promise((resolve) => setTimeout(resolve, 10));
    const exited = failure(workload.exited);
    await client.powerOff(200);
    await guest.ended;
    await exited;
  } finally {
    await guest.stop();
  }
});

test('tells how its workload ended, and that memory was why', async () => {
  const guest = new Guest({ disks: [root] });
  try {
    const client = await guest.connect();
    await client.restored(identity());
    await client.configure(CONFIGURATION);
    const greedy = await client.start(process(['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=45M']), quiet());
    assert.equal(await greedy.exited, { code: null, signal: 9, outOfMemory: true });
    assert.ok((await client.stats()).outOfMemoryKills > 0);
    assert.is((await failure<AgentRefusal>(client.exec(shell('true'), quiet()))).code, 'OUT_OF_ORDER');
    client.close();
  } finally {
    await guest.stop();
  }
});

test('says why it cannot be set up', async () => {
  const refusal = async (configuration: Partial<GuestConfiguration>) => {
    const guest = new Guest({ disks: [root] });
    try {
      const client = await guest.connect();
      await client.restored(identity());
      const failed = await failure<AgentRefusal>(client.configure({ ...CONFIGURATION, ...configuration }));
      client.close();
      return `${failed.code} ${failed.message}`;
    } finally {
      await guest.stop();
    }
  };
  assert.match(await refusal({ root: { device: 'vda', fileSystem: 'ext4' } }), /^DISK_FAILED .*vda.*Ext4/);
  assert.match(await refusal({ root: { device: 'vdz', fileSystem: 'erofs' } }), /^DISK_FAILED .*vdz/);
  const network = { mtu: 1500, addresses: ['10.0.2.15/24'], gateways: [] };
  assert.match(await refusal({ network }), /^NETWORK_FAILED .*no network device/);
  assert.match(
    await refusal({ scratch: [{ path: '/etc/passwd', bytes: 2 ** 20, mode: 0o700 }] }),
    /^ROOT_FAILED .*passwd/,
  );
});

tests.run();
