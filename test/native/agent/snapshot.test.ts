/** Machines cloned from a snapshot: each with its own disk, randomness, time and names. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Captured, CONFIGURATION, Guest, guestLack, identity, makeRootDisk, run, shell } from '../../support/guest.ts';
import { testUnless } from '../../support/test-unless.ts';

const tests = suite('clones of a microVM');
const test = (what: string, work: () => Promise<void>) => testUnless(tests, guestLack(), what, work);

const MEMORY_MIB = 64;
let folder: string;

tests.before(() => {
  if (guestLack() === null) folder = mkdtempSync(join(tmpdir(), 'skerry-snapshot-'));
});

tests.after(() => {
  if (guestLack() === null) rmSync(folder, { recursive: true });
});

/** Answers that say that what was begun before goes on yet, by command. */
const UNDER_WAY: Record<string, (status: string) => boolean> = {
  'query-migrate': (status) => status !== 'completed' && status !== 'failed',
  'query-status': (status) => status === 'inmigrate',
};

/** Commands to QEMU, one after the other; what asks how far something is waits for its end. */
async function monitor(path: string, commands: readonly (readonly [string, object?])[]): Promise<void> {
  const socket = connect(path);
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  await once(socket, 'connect');
  await lines.next();
  for (const [execute, args = {}] of [['qmp_capabilities'] as const, ...commands]) {
    socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`QEMU ended at ${execute}`);
      const message = JSON.parse(value);
      if (message.error) throw new Error(`${execute}: ${message.error.desc}`);
      if (message.return === undefined) continue;
      if (!UNDER_WAY[execute]?.(message.return.status)) break;
      socket.write(`${JSON.stringify({ execute })}\n`);
    }
  }
  socket.destroy();
}

const SHARED = [
  'migrate-set-capabilities',
  { capabilities: [{ capability: 'x-ignore-shared', state: true }] },
] as const;

const memory = (share: 'on' | 'off') => [
  '-object',
  `memory-backend-file,id=memory,size=${MEMORY_MIB}M,mem-path=${join(folder, 'memory')},share=${share}`,
  '-machine',
  'memory-backend=memory',
  '-qmp',
  `unix:${join(folder, `monitor-${share}`)},server=on,wait=off`,
];

async function takeSnapshot(disk: string, before: (guest: Guest) => Promise<void>): Promise<void> {
  const guest = new Guest({ disks: [disk], memoryMiB: MEMORY_MIB, more: memory('on') });
  try {
    await before(guest);
    const state = { uri: `exec:cat > ${join(folder, 'state')}` };
    await monitor(join(folder, 'monitor-on'), [['stop'], SHARED, ['migrate', state], ['query-migrate']]);
  } finally {
    await guest.stop();
  }
}

async function inClone(disk: string, work: (guest: Guest) => Promise<void>): Promise<void> {
  const guest = new Guest({ disks: [disk], memoryMiB: MEMORY_MIB, more: [...memory('off'), '-incoming', 'defer'] });
  try {
    (await guest.stream()).destroy();
    const state = { uri: `exec:cat ${join(folder, 'state')}` };
    // The state says that the machine stands still: to be let go on before it was read is forgotten.
    await monitor(join(folder, 'monitor-off'), [SHARED, ['migrate-incoming', state], ['query-status'], ['cont']]);
    await work(guest);
  } finally {
    await guest.stop();
  }
}

const streams = (stdout = new Captured()) => ({
  stdin: Readable.from([]),
  stdout: stdout.stream,
  stderr: new Captured().stream,
});

const RANDOM = 'head -c 16 /dev/urandom | md5sum; cat /proc/sys/kernel/random/uuid';

test('a machine that waits is given its disk at the clone, whatever the size of the disk before', async () => {
  const placeholder = join(folder, 'placeholder');
  writeFileSync(placeholder, '');
  truncateSync(placeholder, 2 ** 30);
  await takeSnapshot(placeholder, async (guest) => (await guest.connect()).close());
  const seen = new Set<string>();
  for (const name of ['first', 'second']) {
    const disk = makeRootDisk(join(folder, name), `echo ${name} > etc/name`);
    await inClone(disk, async (guest) => {
      const client = await guest.connect({ resume: true });
      assert.is(client.hello.state, 'waiting');
      const now = Math.floor(Date.now() / 1000);
      const own = { ...identity(), hostname: name };
      await client.restored(own);
      await client.configure(CONFIGURATION);
      await client.start(shell('while :; do sleep 1; done'), streams());
      const script = `cat /etc/name; hostname; cat /etc/machine-id; date +%s; ${RANDOM}`;
      const [file, hostname, id, time, ...random] = (await run(client, shell(script))).stdout.trim().split('\n');
      assert.equal([file, hostname, id], [name, name, own.machineId]);
      assert.ok(Number(time) >= now && Number(time) < now + 60);
      for (const value of random) {
        assert.not.ok(seen.has(value), 'no two clones have the same random value');
        seen.add(value);
      }
      client.close();
    });
  }
  assert.is(seen.size, 4);
});

test('a workload that runs is suspended in the snapshot, and goes on in each clone with randomness of its own', async () => {
  const disk = makeRootDisk(join(folder, 'app'), '');
  await takeSnapshot(disk, async (guest) => {
    const client = await guest.connect();
    await client.restored(identity());
    await client.configure(CONFIGURATION);
    const stdout = new Captured();
    const work = `echo ready; while :; do cat /proc/sys/kernel/random/uuid; sleep 0.05; done`;
    await client.start(shell(work), streams(stdout));
    while (!stdout.text.includes('ready')) await new Promise((resolve) => setTimeout(resolve, 10));
    await client.suspend();
    client.close();
  });
  const seen = new Set<string>();
  for (const name of ['one', 'two']) {
    await inClone(disk, async (guest) => {
      const client = await guest.connect({ resume: true });
      assert.is(client.hello.state, 'running');
      await client.restored({ ...identity(), hostname: name });
      const stdout = new Captured();
      await client.attach(streams(stdout), () => {});
      // What it wrote before the snapshot and nobody had read may be the first; what follows is this clone's.
      while (stdout.text.split('\n').length < 20) await new Promise((resolve) => setTimeout(resolve, 10));
      const lines = stdout.text.split('\n').slice(5, 19);
      for (const value of lines) assert.not.ok(seen.has(value), 'no two clones have the same random value');
      for (const value of lines) seen.add(value);
      assert.is((await run(client, shell('hostname; cat /etc/hostname'))).stdout, `${name}\n${name}\n`);
      client.close();
    });
  }
});

tests.run();
