/** The node talks to agents in guests; a guest that does not keep to the rules ends its own connection and nothing else. */
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AgentClient } from '../../../../../runtime/drivers/microvm/agent/client.ts';
import { AgentRefusal } from '../../../../../runtime/drivers/microvm/agent/errors.ts';
import { encodeFrame, MAX_PAYLOAD_BYTES } from '../../../../../runtime/drivers/microvm/agent/frames.ts';
import { asked, told } from '../../../../../runtime/drivers/microvm/agent/messages.ts';
import { OUTPUT_WINDOW } from '../../../../../runtime/drivers/microvm/agent/process.ts';
import { failure } from '../../../../support/failure.ts';
import { Captured, CONFIGURATION, process } from '../../../../support/guest.ts';
import { bytesOf, exitedPayload, GuestAgent, startedPayload, streamPair } from '../../../../support/guest-agent.ts';

const test = suite('agent client');

async function connected(options?: ConstructorParameters<typeof GuestAgent>[1]) {
  const [near, far] = await streamPair();
  const guest = new GuestAgent(far, options);
  const client = await AgentClient.connect(near, { timeoutMs: 5000 });
  return { client, guest };
}

const streams = (stdout: Writable = new Captured().stream, stdin = Readable.from([])) => ({
  stdin,
  stdout,
  stderr: new Captured().stream,
});

/** A process that runs, and the channel that it is on. */
async function running(stdout?: Writable, stdin?: Readable) {
  const { client, guest } = await connected();
  const exec = client.exec(process(['sh']), streams(stdout, stdin));
  const { channel } = await guest.asked();
  guest.send(told.started, channel, startedPayload);
  return { client, guest, channel, process: await exec };
}

const codeOf = (error: unknown) => (error as { code?: string } | null)?.code;

/** What the connection ended with. */
async function endOf(client: AgentClient): Promise<string | undefined> {
  return codeOf(await client.closed);
}

test('a greeting is found behind whatever an agent had to say to a node before', async () => {
  const before = Buffer.concat([
    Buffer.from('the rest of a frame'),
    encodeFrame(told.stdout, 3, Buffer.alloc(5000, 1)),
  ]);
  const { client, guest } = await connected({ greeting: before });
  assert.is(client.hello.state, 'waiting');
  const stats = client.stats();
  const { kind, channel } = await guest.asked();
  assert.is(kind, asked.stats);
  guest.send(
    told.stats,
    channel,
    bytesOf((to) => to.u64(64n).u64(32n).u64(5n).u32(1500).u32(3).u64(7n).u64(0n)),
  );
  assert.equal(await stats, {
    memoryBytes: 64,
    availableBytes: 32,
    cpuMs: 5,
    load: 1.5,
    processes: 3,
    writtenBytes: 7,
    outOfMemoryKills: 0,
  });
  client.close();
});

test('an agent of another version is told apart from one that is silent', async () => {
  assert.is(codeOf(await failure(connected({ version: 9 }))), 'AGENT_OTHER_VERSION');
  const [near] = await streamPair();
  assert.is(codeOf(await failure(AgentClient.connect(near, { timeoutMs: 50 }))), 'AGENT_SILENT');
  assert.ok(near.destroyed);
});

test('an agent that talks without end instead of greeting is given up', async () => {
  const [near, far] = await streamPair();
  const flood = Readable.from(
    (function* () {
      for (;;) yield Buffer.alloc(64 * 1024, 0xa5);
    })(),
  );
  flood.pipe(far);
  assert.is(codeOf(await failure(AgentClient.connect(near, { timeoutMs: 60_000 }))), 'AGENT_NONSENSE');
  flood.destroy();
});

test('what an agent refuses is told with its code, and its words made harmless', async () => {
  const { client, guest } = await connected();
  const exec = client.exec(process(['nothing']), streams());
  const { channel } = await guest.asked();
  guest.send(
    told.failed,
    channel,
    bytesOf((to) => to.bytes('COMMAND_MISSING').bytes('nothing:\u001b[31m\nno such file')),
  );
  const error = await failure<AgentRefusal>(exec);
  assert.instance(error, AgentRefusal);
  assert.is(error.code, 'COMMAND_MISSING');
  assert.is(error.message, 'nothing: [31m no such file');
  client.close();
});

test('an answer that does not come is not waited for, and when it comes late it hurts nobody', async () => {
  const { client, guest } = await connected();
  assert.is(codeOf(await failure(client.stats(50))), 'AGENT_SILENT');
  assert.is(codeOf(await failure(client.exec(process(['sh']), streams(), 50))), 'AGENT_SILENT');
  const [late, exec] = [await guest.asked(), await guest.asked()];
  guest.send(told.done, late.channel);
  guest.send(told.started, exec.channel, startedPayload);
  const kill = await guest.asked();
  assert.equal([kill.kind, kill.channel, [...kill.payload]], [asked.signal, exec.channel, [9, 1]]);
  guest.send(told.stdout, exec.channel, Buffer.from('too late'));
  guest.send(told.exited, exec.channel, exitedPayload(0));
  const suspended = client.suspend();
  guest.send(told.done, (await guest.asked()).channel);
  await suspended;
  client.close();
});

test('what is too long for a frame is refused before it is sent', async () => {
  const { client } = await connected();
  const env = Array.from({ length: 10 }, (_, i) => `V${i}=${'x'.repeat(8000)}`);
  assert.is(codeOf(await failure(client.exec(process(['sh'], { env }), streams()))), 'AGENT_REQUEST_TOO_LONG');
  client.close();
});

test('output and the end of a process reach their streams in order', async () => {
  const stdout = new Captured();
  const { client, guest, channel, process: child } = await running(stdout.stream);
  for (const piece of ['one ', 'two ', 'three']) guest.send(told.stdout, channel, Buffer.from(piece));
  guest.send(told.exited, channel, exitedPayload(7));
  assert.equal(await child.exited, { code: 7, signal: null, outOfMemory: false });
  assert.is(stdout.text, 'one two three');
  client.close();
});

test('output waits for its reader: what is not read is given no credit for', async () => {
  let release = () => {};
  const slow = new Writable({
    write(_data, _encoding, done) {
      release = done;
    },
  });
  const { client, guest, channel, process: child } = await running(slow);
  assert.is((await guest.asked()).kind, asked.stdinEnd);
  for (let sent = 0; sent < OUTPUT_WINDOW; sent += 16_384) guest.send(told.stdout, channel, Buffer.alloc(16_384));
  // An answer behind it all: everything before it has been taken by then.
  const stats = client.suspend();
  const next = await guest.asked();
  assert.is(next.kind, asked.suspend, 'no credit was given');
  guest.send(told.done, next.channel);
  await stats;
  const credit = guest.asked();
  const timer = setInterval(() => release(), 1);
  assert.equal([(await credit).kind, (await credit).payload.readUInt32LE(1)], [asked.credit, OUTPUT_WINDOW / 2]);
  guest.send(told.exited, channel, exitedPayload(0));
  await child.exited;
  clearInterval(timer);
  client.close();
});

test('input goes as far as the process has read it', async () => {
  const { client, guest, channel } = await running(undefined, Readable.from([Buffer.alloc(100_000, 1)]));
  let got = 0;
  while (got < 65_536) got += (await guest.asked()).payload.length;
  assert.is(got, 65_536);
  guest.send(
    told.stdinCredit,
    channel,
    bytesOf((to) => to.u32(65_536)),
  );
  while (got < 100_000) got += (await guest.asked()).payload.length;
  assert.is((await guest.asked()).kind, asked.stdinEnd);
  client.close();
});

const BREACHES: Record<string, (guest: GuestAgent, channel: number) => void> = {
  'an answer to nothing': (guest) => guest.send(told.done, 999),
  'more output than there was room for': (guest, channel) => {
    for (let i = 0; i < 40; i++) guest.send(told.stdout, channel, Buffer.alloc(16_384));
  },
  'output that is none, without end': (guest, channel) => guest.send(told.stdout, channel),
  'credit for input that was not sent': (guest, channel) =>
    guest.send(
      told.stdinCredit,
      channel,
      bytesOf((to) => to.u32(1)),
    ),
  'an end that is none': (guest, channel) => guest.send(told.exited, channel, Buffer.from([3, 0, 0])),
  'an end that is too long': (guest, channel) => guest.send(told.exited, channel, Buffer.from([0, 0, 0, 0])),
  'lost output twice': (guest, channel) => {
    const lost = bytesOf((to) => to.u8(1).u64(5n));
    guest.send(told.lost, channel, lost);
    guest.send(told.lost, channel, lost);
  },
  'a kind that is none': (guest, channel) => guest.send(0x7f, channel),
  'a frame that is too long': (guest) => {
    const frame = encodeFrame(told.stdout, 1, Buffer.alloc(MAX_PAYLOAD_BYTES));
    frame.writeUInt32LE(MAX_PAYLOAD_BYTES + 1, 4);
    guest.stream.write(frame);
  },
  'a frame without its end': (guest, channel) => {
    const frame = encodeFrame(told.stdout, channel, Buffer.from('x'));
    frame[frame.length - 1] = 0;
    guest.stream.write(frame);
  },
  'bytes that are no frame': (guest) => guest.stream.write('HTTP/1.1 200 OK\r\n\r\n'),
};

for (const [what, breach] of Object.entries(BREACHES)) {
  test(`a guest that sends ${what} loses its connection`, async () => {
    const { client, guest, channel, process: child } = await running(new Writable({ write() {} }));
    breach(guest, channel);
    assert.is(await endOf(client), 'AGENT_NONSENSE');
    assert.is(codeOf(await failure(child.exited)), 'AGENT_NONSENSE');
    assert.is(codeOf(await failure(client.stats())), 'AGENT_GONE');
  });
}

test('a guest that never ends a frame, or sends it byte by byte, holds nobody up', async () => {
  const { client, guest, channel, process: child } = await running();
  const frame = encodeFrame(told.exited, channel, exitedPayload(3));
  for (const byte of frame.subarray(0, -1)) guest.stream.write(Buffer.from([byte]));
  assert.is(codeOf(await failure(client.stats(50))), 'AGENT_SILENT');
  guest.stream.write(frame.subarray(-1));
  assert.is((await child.exited).code, 3);
  client.close();
});

test('a guest that reads nothing is given up before it fills the memory of the node', async () => {
  const { client, guest } = await connected();
  guest.stream.pause();
  const contents = 'x'.repeat(60_000);
  const large = { ...CONFIGURATION, files: [{ path: '/x', mode: 0o644, contents }] };
  const asking = Array.from({ length: 200 }, () => failure(client.configure(large, 60_000)));
  assert.is(await endOf(client), 'AGENT_SILENT');
  await Promise.all(asking);
});

test('when the guest goes, everything that waits is told', async () => {
  const { client, guest, process: child } = await running();
  const stats = failure(client.stats());
  guest.stream.destroy();
  assert.is(codeOf(await failure(child.exited)), 'AGENT_GONE');
  assert.is(codeOf(await stats), 'AGENT_GONE');
  await client.closed;
});

/** The same numbers in each run (mulberry32). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

test('whatever a guest sends, the node goes on: the connection stands or ends', async () => {
  const random = randomNumbers(5);
  const kinds = Object.values(told);
  for (let round = 0; round < 150; round++) {
    const { client, guest, channel, process: child } = await running();
    const asking = [failure(client.stats(1000)), failure(client.suspend(1000))];
    for (let i = 0; i < 20; i++) {
      const payload = Buffer.from(Array.from({ length: random(40) }, () => random(256)));
      const kind = random(10) === 0 ? random(256) : (kinds[random(kinds.length)] as number);
      const frame = encodeFrame(kind, random(3) === 0 ? random(6) : channel, payload);
      if (random(3) === 0) frame[random(frame.length)] = random(256);
      if (random(8) === 0) guest.stream.write(frame.subarray(0, random(frame.length)));
      else guest.stream.write(frame);
    }
    guest.stream.end();
    const end = await client.closed;
    assert.ok(end === null || codeOf(end) === 'AGENT_NONSENSE', String(end));
    await Promise.allSettled([...asking, child.exited]);
    if (!guest.stream.closed) await once(guest.stream, 'close');
  }
});

test.run();
