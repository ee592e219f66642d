/** Nodes that come and go, and bytes that are no messages: the agent and its workload go on. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AgentClient } from '../../../runtime/drivers/microvm/agent/client.ts';
import type { AgentRefusal } from '../../../runtime/drivers/microvm/agent/errors.ts';
import { encodeFrame, RESYNC_BYTES } from '../../../runtime/drivers/microvm/agent/frames.ts';
import { asked, encodeHello, encodeProcess } from '../../../runtime/drivers/microvm/agent/messages.ts';
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

const tests = suite('the connection to a microVM');
const test = (what: string, work: () => Promise<void>) => testUnless(tests, guestLack(), what, work);

let folder: string;
let guest: Guest;

const WORKLOAD = `trap 'echo told' USR1; trap 'head -c 300000 /dev/zero | tr "\\0" x; echo; echo end' USR2
echo begun; while :; do sleep 0.1; done`;

tests.before(async () => {
  if (guestLack() !== null) return;
  folder = mkdtempSync(join(tmpdir(), 'skerry-connection-'));
  guest = new Guest({ disks: [makeRootDisk(folder, '')] });
});

tests.after(async () => {
  if (guestLack() !== null) return;
  await guest.stop();
  rmSync(folder, { recursive: true });
});

const streams = (stdout = new Captured()) => ({
  stdin: Readable.from([]),
  stdout: stdout.stream,
  stderr: new Captured().stream,
});

/** Resolves when the text has come. */
async function until(captured: Captured, text: string): Promise<void> {
  while (!captured.text.includes(text)) await new Promise((resolve) => setTimeout(resolve, 10));
}

test('nothing is done for a host that does not say hello, or not in order', async () => {
  const client = await guest.connect();
  const order = async (work: Promise<unknown>) => (await failure<AgentRefusal>(work)).code;
  assert.is(await order(client.configure(CONFIGURATION)), 'OUT_OF_ORDER');
  assert.is(await order(client.start(shell('true'), streams())), 'OUT_OF_ORDER');
  assert.is(await order(client.exec(shell('true'), streams())), 'OUT_OF_ORDER');
  assert.is(await order(client.attach(streams(), () => {})), 'OUT_OF_ORDER');
  await client.restored(identity());
  await client.configure(CONFIGURATION);
  assert.is(await order(client.configure(CONFIGURATION)), 'OUT_OF_ORDER');
  const stdout = new Captured();
  await client.start(shell(WORKLOAD), streams(stdout));
  await until(stdout, 'begun');
  client.close();
});

test('a node that comes later takes the workload over, and what ran beside it has ended', async () => {
  const first = await guest.connect({ resume: true });
  assert.is(first.hello.state, 'running');
  await first.exec(process(['sleep', '987']), streams());
  first.close();
  const second = await guest.connect({ resume: true });
  const stdout = new Captured();
  const workload = await second.attach(streams(stdout), () => {});
  workload.signal(10);
  await until(stdout, 'told');
  assert.is((await run(second, shell('pgrep -f "sleep 987" | wc -l'))).stdout.trim(), '0');
  second.close();
});

test('while no node is there the workload goes on; the end of what it wrote is kept', async () => {
  const first = await guest.connect({ resume: true });
  const before = await first.attach(streams(), () => {});
  before.signal(12);
  first.close();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const second = await guest.connect({ resume: true });
  const stdout = new Captured();
  let lost = 0;
  await second.attach(streams(stdout), (_stream, bytes) => {
    lost += bytes;
  });
  await until(stdout, 'end\n');
  assert.ok(lost > 0 && stdout.text.length <= 300_005, `${lost} ${stdout.text.length}`);
  second.close();
});

test('whatever is sent to it, the agent finds its way back, and the workload runs', async () => {
  const hello = encodeFrame(asked.hello, 1, encodeHello(randomBytes(16)));
  const exec = encodeFrame(asked.exec, 2, encodeProcess(process(['sleep', '988']), 1024));
  const pieces = [
    randomBytes(100_000),
    exec.subarray(0, 20),
    hello,
    ...Object.values(asked).map((kind) => encodeFrame(kind, 3, Buffer.alloc(0))),
    ...Array.from({ length: 300 }, (_, at) => encodeFrame((at % 15) + 1, at % 7, randomBytes(at))),
    encodeFrame(0xff, 0, Buffer.alloc(60_000)),
  ].filter((piece) => piece[1] !== asked.powerOff);
  for (const piece of pieces.slice(0, 20)) {
    const stream = await guest.stream();
    stream.on('error', () => {}).resume();
    stream.write(Buffer.concat([Buffer.alloc(RESYNC_BYTES), hello]));
    stream.write(piece);
    stream.end();
    await once(stream, 'close');
  }
  const stream = await guest.stream();
  stream.on('error', () => {}).resume();
  stream.write(Buffer.concat([Buffer.alloc(RESYNC_BYTES), hello, ...pieces]));
  await new Promise((resolve) => setTimeout(resolve, 500));
  stream.destroy();
  const client = await guest.connect({ resume: true });
  // One of the messages was well formed, and suspended it.
  await client.restored(identity());
  const stdout = new Captured();
  const workload = await client.attach(streams(stdout), () => {});
  workload.signal(10);
  await until(stdout, 'told');
  client.close();
});

test('a host that asks without reading what it is told fills nothing up', async () => {
  const stream = await guest.stream();
  stream.on('error', () => {}).pause();
  stream.write(Buffer.concat([Buffer.alloc(RESYNC_BYTES), encodeFrame(asked.hello, 1, encodeHello(randomBytes(16)))]));
  const ask = encodeFrame(asked.stats, 2, Buffer.alloc(0));
  stream.write(Buffer.concat(Array.from({ length: 20_000 }, () => ask)));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  stream.destroy();
  const client = await guest.connect({ resume: true });
  assert.is((await run(client, shell('echo here'))).stdout, 'here\n');
  client.close();
});

test('more input than a process may be sent ends that process', async () => {
  const stream = await guest.stream();
  stream.on('error', () => {}).resume();
  const input = encodeFrame(asked.stdin, 5, Buffer.alloc(60_000));
  stream.write(
    Buffer.concat([
      Buffer.alloc(RESYNC_BYTES),
      encodeFrame(asked.hello, 1, encodeHello(randomBytes(16))),
      encodeFrame(asked.exec, 5, encodeProcess(process(['sleep', '989']), 1024)),
      ...Array.from({ length: 10 }, () => input),
    ]),
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  stream.destroy();
  const client = await AgentClient.connect(await guest.stream(), { resume: true });
  assert.is((await run(client, shell('pgrep -f "sleep 989" | wc -l'))).stdout.trim(), '0');
  client.close();
});

tests.run();
