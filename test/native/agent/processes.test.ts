/** Processes in a microVM: what they are given, what they write, how they end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AgentClient } from '../../../runtime/drivers/microvm/agent/client.ts';
import type { AgentRefusal } from '../../../runtime/drivers/microvm/agent/errors.ts';
import type { GuestProcess } from '../../../runtime/drivers/microvm/agent/messages.ts';
import { failure } from '../../support/failure.ts';
import {
  Captured,
  CONFIGURATION,
  Guest,
  guestLack,
  identity,
  makeRootDisk,
  process,
  run,
  shell,
} from '../../support/guest.ts';
import { testUnless } from '../../support/test-unless.ts';

const tests = suite('processes in a microVM');
const test = (what: string, work: () => Promise<void>) => testUnless(tests, guestLack(), what, work);

const PASSWD = 'root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh';
const WEB = { uid: 1000, gid: 1000, groups: [1000, 2000] };

let folder: string;
let guest: Guest;
let client: AgentClient;
const main = { stdout: new Captured(), stderr: new Captured() };

tests.before(async () => {
  if (guestLack() !== null) return;
  folder = mkdtempSync(join(tmpdir(), 'skerry-processes-'));
  guest = new Guest({ disks: [makeRootDisk(folder, `echo '${PASSWD}' > etc/passwd`)] });
  client = await guest.connect();
  await client.restored(identity());
  await client.configure(CONFIGURATION);
  const streams = { stdin: Readable.from([]), stdout: main.stdout.stream, stderr: main.stderr.stream };
  await client.start(shell('echo it runs; while :; do sleep 1; done'), streams);
});

tests.after(async () => {
  if (guestLack() !== null) return;
  client.close();
  await guest.stop();
  rmSync(folder, { recursive: true });
});

const wordsOf = async (what: GuestProcess) => (await run(client, what)).stdout.trim();

test('stdout and stderr are kept apart, and the exit status is told', async () => {
  const ran = await run(client, shell('echo out; echo err >&2; exit 7'));
  assert.equal(ran, { exit: { code: 7, signal: null, outOfMemory: false }, stdout: 'out\n', stderr: 'err\n' });
});

test('a process that a signal ends is told apart from one that exits', async () => {
  assert.equal((await run(client, shell('kill -TERM $$'))).exit, { code: null, signal: 15, outOfMemory: false });
});

test('what it is sent it reads, to the end, however much it is', async () => {
  const input = 'line of input\n'.repeat(20_000);
  const { stdout } = await run(client, process(['md5sum']), input);
  const { createHash } = await import('node:crypto');
  assert.is(stdout.split(' ')[0], createHash('md5').update(input).digest('hex'));
  assert.is((await run(client, process(['cat']), 'x'.repeat(200_000))).stdout.length, 200_000);
});

test('it runs as its user with its groups, in its folder, with its environment and nothing else', async () => {
  const what = shell('id -u; id -g; id -G; pwd; env', { user: WEB, directory: '/etc', env: ['A=b c', 'PATH=/bin'] });
  const [uid, gid, groups, directory, ...env] = (await wordsOf(what)).split('\n');
  assert.equal([uid, gid, groups, directory], ['1000', '1000', '1000 2000', '/etc']);
  assert.equal(env.filter((each) => !/^(PWD|SHLVL|OLDPWD)=/.test(each)).sort(), ['A=b c', 'PATH=/bin']);
});

test('it has the capabilities that it is given, and cannot get more', async () => {
  const status = async (more: Partial<GuestProcess>) =>
    Object.fromEntries(
      (await wordsOf(shell('cat /proc/self/status', more))).split('\n').map((line) => line.split(':\t')),
    );
  const root = await status({});
  assert.equal([root.CapEff, root.CapBnd, root.NoNewPrivs], ['00000000a80425fb', '00000000a80425fb', '1']);
  const web = await status({ user: WEB, noNewPrivileges: false });
  assert.equal([web.CapEff, web.CapPrm, web.NoNewPrivs], ['0000000000000000', '0000000000000000', '0']);
  assert.match((await run(client, shell('mount -t tmpfs x /tmp', { user: WEB }))).stderr, /denied|permitted/);
});

test('nothing but its streams is open to it', async () => {
  assert.is(await wordsOf(shell('ls /proc/self/fd | tr "\\n" " "')), '0 1 2 3');
});

test('a program that is not there, or cannot be run, is told apart from other failures', async () => {
  const refusal = async (what: GuestProcess) => (await failure<AgentRefusal>(run(client, what))).code;
  assert.is(await refusal(process(['no-such-program'])), 'COMMAND_MISSING');
  assert.is(await refusal(process(['/etc/passwd'])), 'COMMAND_MISSING');
  assert.is(await refusal(process(['/bin'])), 'COMMAND_MISSING');
  assert.is(await refusal(process(['sh'], { env: ['PATH=/etc'] })), 'COMMAND_MISSING');
  assert.is(await refusal(process(['true'], { directory: '/not-there' })), 'PROCESS_NOT_STARTED');
});

test('a process that was left by its parent is reaped', async () => {
  await run(client, shell('(sleep 0.1; exit 3) & (sleep 0.1 & ) ; true'));
  const states = 'sleep 0.5; for pid in /proc/[0-9]*; do grep State: $pid/status; done 2>/dev/null | grep -c Z';
  assert.is(await wordsOf(shell(states)), '0');
});

test('its end is told although a child holds its output', async () => {
  const { stdout, exit } = await run(client, shell('sleep 1000 & echo begun'));
  assert.equal([stdout, exit.code], ['begun\n', 0]);
  await run(client, shell('killall sleep'));
});

test('a signal reaches a process, or all of its group', async () => {
  const stdout = new Captured();
  const streams = { stdin: Readable.from([]), stdout: stdout.stream, stderr: new Captured().stream };
  const trapping = await client.exec(
    shell('trap "echo got it; exit 5" USR1; echo ready; while :; do sleep 0.1; done'),
    streams,
  );
  while (!stdout.text.includes('ready')) await new Promise((resolve) => setTimeout(resolve, 10));
  trapping.signal(10);
  assert.is((await trapping.exited).code, 5);
  assert.match(stdout.text, /got it/);
  const group = await client.exec(shell('sleep 1000 | sleep 1000'), streams);
  group.signal(9, true);
  assert.is((await group.exited).signal, 9);
});

test('a flood of one that nobody reads holds up no other one', async () => {
  let stuck = () => {};
  const unread = new Writable({
    write(_data, _encoding, done) {
      stuck = done;
    },
  });
  const streams = { stdin: Readable.from([]), stdout: unread, stderr: new Captured().stream };
  const flood = await client.exec(process(['yes']), streams);
  for (let i = 0; i < 5; i++) assert.is(await wordsOf(shell('echo still here')), 'still here');
  flood.signal(9);
  const timer = setInterval(() => stuck(), 1);
  assert.is((await flood.exited).signal, 9);
  clearInterval(timer);
});

test('as many processes run at once as the protocol says, and one more is refused', async () => {
  const streams = () => ({ stdin: Readable.from([]), stdout: new Captured().stream, stderr: new Captured().stream });
  const sleeping = [];
  for (let i = 0; i < 63; i++) sleeping.push(await client.exec(process(['sleep', '1000']), streams()));
  const refused = await failure<AgentRefusal>(client.exec(process(['true']), streams()));
  assert.is(refused.code, 'TOO_MANY_PROCESSES');
  for (const each of sleeping) each.signal(9);
  for (const each of sleeping) assert.is((await each.exited).signal, 9);
});

test('more processes than it may have fail inside, and nowhere else', async () => {
  const { stderr } = await run(
    client,
    shell('i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done; killall sleep'),
  );
  assert.match(stderr, /fork|Resource temporarily unavailable/);
  assert.is(await wordsOf(shell('echo still here')), 'still here');
});

test('memory, load and processes are told', async () => {
  const stats = await client.stats();
  assert.ok(stats.memoryBytes > 40 * 2 ** 20 && stats.memoryBytes <= 64 * 2 ** 20, String(stats.memoryBytes));
  assert.ok(stats.availableBytes > 0 && stats.availableBytes < stats.memoryBytes);
  assert.ok(stats.cpuMs > 0 && stats.processes >= 1);
});

tests.run();
