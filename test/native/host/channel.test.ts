/** Two processes that hand each other messages and open files; one of them may be hostile. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { load } from '../../../native/host/binding.ts';
import {
  Channel,
  closeFd,
  dupFd,
  events,
  type HostError,
  peerCredentials,
  setCloexec,
  socketPair,
  waitFor,
} from '../../../native/host/index.ts';
import { hostSuite, noMoreFilesThan, openFiles, refused } from '../../support/host-suite.ts';

const PYTHON = '/usr/bin/python3';
const { test, run } = hostSuite('channel');

interface Inbox {
  readonly channel: Channel;
  readonly messages: { text: string; bytes: Buffer; fds: number[] }[];
  /** Resolves with the error, or null, that the channel ended with. */
  readonly closed: Promise<HostError | null>;
  /** Waits until so many messages have come in all. */
  count(wanted: number): Promise<void>;
}

function listen(fd: number): Inbox {
  const messages: Inbox['messages'] = [];
  let arrived = () => {};
  let end: (error: HostError | null) => void;
  const closed = new Promise<HostError | null>((resolve) => {
    end = resolve;
  });
  const channel = new Channel(fd, {
    onMessage(bytes, fds) {
      messages.push({ text: bytes.toString(), bytes, fds });
      arrived();
    },
    onClose: (error) => end(error),
  });
  const count = async (wanted: number) => {
    while (messages.length < wanted) {
      await new Promise<void>((resolve) => {
        arrived = resolve;
      });
    }
  };
  return { channel, messages, closed, count };
}

async function pair(): Promise<[Inbox, Inbox]> {
  const [a, b] = await socketPair();
  return [listen(a), listen(b)];
}

/** A peer that is not ours: a Python script that has its end as `s`. */
async function python(script: string): Promise<{ inbox: Inbox; child: ChildProcess }> {
  const [ours, theirs] = await socketPair();
  const inbox = listen(ours);
  const head = 'import socket, os, array\ns = socket.socket(fileno=3)\n';
  const child = spawn(PYTHON, ['-c', head + script], { stdio: ['ignore', 'inherit', 'inherit', theirs] });
  await closeFd(theirs);
  return { inbox, child };
}

test('messages arrive whole, in order, both ways', [], async () => {
  const [a, b] = await pair();
  await Promise.all(['one', 'two', 'three'].map((text) => a.channel.send(Buffer.from(text))));
  await b.channel.send(Buffer.from('back'));
  await Promise.all([b.count(3), a.count(1)]);
  assert.equal(
    b.messages.map(({ text }) => text),
    ['one', 'two', 'three'],
  );
  assert.is(a.messages[0]!.text, 'back');
  a.channel.close();
  assert.is(await b.closed, null);
});

test('an open file crosses with a message and is closed on exec', [], async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-channel-'));
  writeFileSync(join(folder, 'file'), 'the content');
  const [a, b] = await pair();
  const fd = openSync(join(folder, 'file'), 'r');
  await a.channel.send(Buffer.from('take this'), [fd]);
  closeSync(fd);
  await b.count(1);
  const [received] = b.messages[0]!.fds;
  assert.is(readFileSync(received!, 'utf8'), 'the content');
  assert.match(readFileSync(`/proc/self/fdinfo/${received}`, 'utf8'), /flags:\s+02\d{6}/);
  await closeFd(received!);
  b.channel.close();
  await a.closed;
  rmSync(folder, { recursive: true });
});

test('a connection that one process accepted is answered by another', [], async () => {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new Socket().connect((server.address() as { port: number }).port, '127.0.0.1');
  const [accepted] = await once(server, 'connection');
  const [a, b] = await pair();
  await a.channel.send(Buffer.from('a connection'), [accepted._handle.fd]);
  accepted.destroy();
  await b.count(1);
  new Socket({ fd: b.messages[0]!.fds[0]! }).end('hello from here');
  let text = '';
  for await (const piece of client) text += piece;
  assert.is(text, 'hello from here');
  a.channel.close();
  server.close();
});

test('the largest message, with the most descriptors', [], async () => {
  const [a, b] = await pair();
  const before = await openFiles();
  const fd = openSync('/dev/null', 'r');
  await a.channel.send(Buffer.alloc(65_536, 'x'), new Array(16).fill(fd));
  await b.count(1);
  assert.is(b.messages[0]!.bytes.length, 65_536);
  assert.is(b.messages[0]!.fds.length, 16);
  for (const received of [fd, ...b.messages[0]!.fds]) closeSync(received);
  await noMoreFilesThan(before);
  a.channel.close();
});

test('what cannot be sent is refused with a code and what to do, and the channel goes on', [], async () => {
  const [a, b] = await pair();
  assert.is((await refused(a.channel.send(Buffer.alloc(65_537)))).code, 'EMSGSIZE');
  assert.is((await refused(a.channel.send(Buffer.alloc(0)))).code, 'EINVAL');
  assert.is((await refused(a.channel.send(Buffer.from('x'), new Array(17).fill(0)))).code, 'E2BIG');
  assert.is((await refused(a.channel.send(Buffer.from('x'), [Number.NaN]))).code, 'EBADF');
  const error = await refused(a.channel.send(Buffer.from('x'), [999_999]));
  assert.is(error.code, 'EBADF');
  assert.is(error.syscall, 'sendmsg');
  assert.match(error.advice, /descriptor that is open/);
  assert.match(error.message, /^sendmsg failed; .* \[EBADF\]$/);
  await a.channel.send(Buffer.from('still here'));
  await b.count(1);
  assert.is(b.messages[0]!.text, 'still here');
  b.channel.close();
  await a.closed;
  assert.is((await refused(a.channel.send(Buffer.from('x')))).code, 'EPIPE');
});

test(
  'a peer that does not read: messages wait up to a bound, with the files they had when they were sent',
  [],
  async () => {
    const [a, b] = await pair();
    b.channel.pause();
    const fd = openSync('/dev/null', 'r');
    const sent: Promise<void>[] = [];
    for (let i = 0; i < 200; i++) {
      const one = a.channel.send(Buffer.alloc(16_384, i), i % 10 === 0 ? [fd] : []);
      sent.push(one);
      one.catch(() => {});
    }
    // By then the number is another file's.
    closeSync(fd);
    const other = openSync('/dev/zero', 'r');
    assert.is((await refused(sent.at(-1)!)).code, 'ENOBUFS');
    b.channel.resume();
    const done = await Promise.allSettled(sent);
    const taken = done.filter(({ status }) => status === 'fulfilled').length;
    assert.ok(taken > 64 && taken < 100, `${taken} were taken`);
    await b.count(taken);
    b.messages.forEach(({ bytes, fds }, i) => {
      assert.is(bytes[0], i);
      assert.is(fds.length, i % 10 === 0 ? 1 : 0);
      for (const each of fds) {
        assert.is(fstatSync(each).rdev, 0x103);
        closeSync(each);
      }
    });
    closeSync(other);
    a.channel.close();
    await b.closed;
  },
);

test('closing ends what waits to be sent, and leaves no file open', [], async () => {
  const before = await openFiles();
  const [a, b] = await pair();
  b.channel.pause();
  const fd = openSync('/dev/null', 'r');
  const sent = Array.from({ length: 60 }, () => a.channel.send(Buffer.alloc(16_384), [fd]));
  const last = refused(sent.at(-1)!);
  for (const each of sent) each.catch(() => {});
  closeSync(fd);
  a.channel.close();
  a.channel.close();
  assert.is((await last).code, 'EPIPE');
  assert.is(await a.closed, null);
  b.channel.close();
  await noMoreFilesThan(before);
});

test('a handler may close its own channel', [], async () => {
  const [ours, theirs] = await socketPair();
  const sender = listen(ours);
  let seen = 0;
  const closed = new Promise((resolve) => {
    const channel = new Channel(theirs, {
      onMessage() {
        seen++;
        channel.close();
      },
      onClose: resolve,
    });
  });
  await Promise.all([sender.channel.send(Buffer.from('1')), sender.channel.send(Buffer.from('2'))]);
  assert.is(await closed, null);
  assert.is(seen, 1);
  // The second message was never read.
  assert.is((await sender.closed)?.code, 'ECONNRESET');
});

test('a peer that ends after its last message: that is still read', [PYTHON], async () => {
  const { inbox, child } = await python("s.send(b'first')\ns.send(b'last')");
  assert.is(await inbox.closed, null);
  assert.equal(
    inbox.messages.map(({ text }) => text),
    ['first', 'last'],
  );
  if (child.exitCode === null) await once(child, 'exit');
});

test('a hostile peer: a message that is too long ends the channel, and its files are closed', [PYTHON], async () => {
  const before = await openFiles();
  const { inbox, child } = await python("socket.send_fds(s, [b'x' * 65537], [0, 0, 0])");
  assert.is((await inbox.closed)?.code, 'EMSGSIZE');
  assert.is(inbox.messages.length, 0);
  if (child.exitCode === null) await once(child, 'exit');
  await noMoreFilesThan(before);
});

test('a hostile peer: too many descriptors end the channel, and all are closed', [PYTHON], async () => {
  const before = await openFiles();
  const { inbox, child } = await python("socket.send_fds(s, [b'x'], [0] * 100)");
  const error = await inbox.closed;
  assert.is(error?.code, 'ETOOMANYREFS');
  assert.is(error?.syscall, 'recvmsg');
  if (child.exitCode === null) await once(child, 'exit');
  await noMoreFilesThan(before);
});

test('a hostile peer: an empty message with descriptors ends its channel, and all are closed', [PYTHON], async () => {
  const before = await openFiles();
  const { inbox, child } = await python("socket.send_fds(s, [b''], [0] * 5)");
  await inbox.closed;
  assert.is(inbox.messages.length, 0);
  if (child.exitCode === null) await once(child, 'exit');
  await noMoreFilesThan(before);
});

test('a hostile peer: a flood of messages leaves the event loop its turns', [PYTHON], async () => {
  const { inbox, child } = await python("try:\n  for i in range(200000): s.send(b'x')\nexcept OSError: pass");
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await inbox.count(20_000);
  inbox.channel.close();
  clearInterval(timer);
  assert.ok(turns > 5, `${turns} turns of a timer`);
  if (child.exitCode === null) await once(child, 'exit');
});

test('a descriptor can be duplicated, given to a child, and asked who made it', [], async () => {
  const [a, b] = await socketPair();
  const copy = await dupFd(a);
  assert.is.not(copy, a);
  assert.equal(await peerCredentials(copy), {
    pid: process.pid,
    uid: process.getuid!(),
    gid: process.getgid!(),
  });
  const hasIt = async () => {
    const child = spawn('/bin/sh', ['-c', `test -e /proc/self/fd/${copy}`], { stdio: 'ignore' });
    return (await once(child, 'exit'))[0] === 0;
  };
  assert.is(await hasIt(), false);
  await setCloexec(copy, false);
  assert.is(await hasIt(), true);
  await setCloexec(copy, true);
  assert.is(await hasIt(), false);
  await Promise.all([a, b, copy].map(closeFd));
  assert.is((await refused(closeFd(999_999))).code, 'EBADF');
});

test('waiting for a descriptor: ready, past its time, given up', [], async () => {
  const [a, b] = await socketPair();
  assert.is(await waitFor(a, events.writable), events.writable);
  assert.is(await waitFor(a, events.readable, { timeoutMs: 20 }), 0);
  const giveUp = new AbortController();
  setTimeout(() => giveUp.abort(), 10);
  assert.is(await waitFor(a, events.readable, { signal: giveUp.signal }), 0);
  setTimeout(() => closeFd(b), 10);
  assert.is((await waitFor(a, events.readable)) & events.readable, events.readable);
  await closeFd(a);
  assert.is((await refused(waitFor(999_999, events.readable))).code, 'EBADF');
});

test('a channel over something else is refused, and the descriptor stays the caller’s', [], async () => {
  const fd = openSync('/dev/null', 'r');
  assert.throws(
    () => listen(fd),
    (error: HostError) => error.code === 'ENOTSOCK',
  );
  closeSync(fd);
});

test('without the addon a call says what to install', [], async () => {
  assert.throws(
    () => load('/nowhere/skerry-host.node'),
    (error: HostError) => error.code === 'HOST_NOT_BUILT' && /apt-get install g\+\+/.test(error.message),
  );
});

run();
