/** Checks of servers and commands of this machine, such that answer badly, slowly, too much or not at all. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseHealthCheck } from '../../../runtime/health/health-check.ts';
import { type CheckTarget, runCheck } from '../../../runtime/health/run-check.ts';

/** This machine as the inside of an instance. */
const machine: CheckTarget = {
  async connect(port) {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  },
  exec: ([program = '', ...args], output, signal) =>
    new Promise((resolve) => {
      const child = spawn(program, args, { detached: true });
      for (const stream of [child.stdout, child.stderr]) stream.on('data', output);
      signal.addEventListener('abort', () => process.kill(-child.pid!, 'SIGKILL'));
      child.on('close', (status) => resolve(status ?? 137));
    }),
};

function check(text: string, port = 1, more: { timeoutMs?: number; signal?: AbortSignal; target?: CheckTarget } = {}) {
  const { timeoutMs = 10_000, signal = new AbortController().signal, target = machine } = more;
  return runCheck({ check: parseHealthCheck(text)!, target, port, timeoutMs, signal });
}

/** A check of a server that does this with each connection once it has sent a request. */
async function asked(text: string, answer: (socket: Socket, head: string) => void, timeoutMs?: number) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', (head: Buffer) => answer(socket, head.toString('latin1')));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await check(text, (server.address() as AddressInfo).port, timeoutMs === undefined ? {} : { timeoutMs });
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

const says = (text: string) => (socket: Socket) => void socket.end(text);
const status = (line: string, body = '') =>
  says(`HTTP/1.1 ${line}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);

test('200 to 399 is well, all else is not and is told with the beginning of the answer', async () => {
  for (const line of ['200 OK', '204 No Content', '302 Found\r\nLocation: http://elsewhere.test/', '399 x']) {
    assert.is(await asked('http:/', status(line)), null, line);
  }
  for (const code of [400, 404, 500, 503, 600, 999]) {
    assert.is(await asked('http:/', status(`${code} x`)), `HTTP status ${code}`);
  }
  const said = await asked('http:/', status('503 x', 'the database\r\n\x1b[31mis not there'));
  assert.is(said, 'HTTP status 503: the database [31mis not there');
});

test('the request is plain HTTP/1.1 for the target that was said', async () => {
  let seen = '';
  await asked('http:/healthz?a=1', (socket, head) => {
    seen = head;
    status('200 OK')(socket);
  });
  assert.match(seen, /^GET \/healthz\?a=1 HTTP\/1\.1\r\n/);
  assert.match(seen, /\r\nhost: localhost\r\n/i);
  assert.match(seen, /\r\nconnection: close\r\n/i);
});

test('an answer without end, and one that says nothing, cost their time limit and no more', async () => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  const endless = (socket: Socket) => {
    socket.write(head);
    const more = () => {
      while (!socket.destroyed && socket.write(`400\r\n${'x'.repeat(1024)}\r\n`));
    };
    socket.on('drain', more);
    more();
  };
  assert.is(await asked('http:/', endless), null, 'what it has begun with is enough');
  assert.match((await asked('http:/', (socket) => void socket.write(head), 300))!, /no answer within 300 ms/);
  assert.match((await asked('http:/', () => {}, 300))!, /no answer within 300 ms/);
  const informational = (socket: Socket) => {
    const timer = setInterval(() => socket.write('HTTP/1.1 100 Continue\r\n\r\n'), 5);
    socket.on('close', () => clearInterval(timer));
  };
  assert.match((await asked('http:/', informational, 300))!, /no answer within 300 ms/);
});

test('what is no HTTP is not well', async () => {
  assert.match((await asked('http:/', says('SSH-2.0-OpenSSH_9.2\r\n')))!, /no answer that is HTTP/);
  assert.match((await asked('http:/', says('')))!, /no answer/);
  assert.match(
    (await asked('http:/', says(`HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(10_000)}\r\n`)))!,
    /HPE_HEADER_OVERFLOW/,
  );
  assert.match((await asked('http:/', says('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort')))!, /broke off/);
  const upgrade = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n';
  assert.match((await asked('http:/', says(upgrade)))!, /101|no answer/);
});

test('a port is well when it takes a connection; a check may name its own', async () => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  assert.is(await check('tcp', port), null);
  assert.is(await check(`tcp:${port}`, 1), null);
  server.close();
  await once(server, 'close');
  assert.is(await check('tcp', port), `port ${port} takes no connection`);
  assert.is(await check('http:/', port), `port ${port} takes no connection`);
});

test('a command is well when it ends with 0; else its status and the last it said are told', async () => {
  assert.is(await check('command:exit 0'), null);
  assert.is(
    await check('command:echo not; echo yet >&2; exit 3'),
    'the command exited with status 3; the last it said: not yet',
  );
  const loud = (await check('command:seq 1 200000; exit 1'))!;
  assert.match(loud, /200000$/);
  assert.ok(loud.length < 500);
});

test('a command that hangs is killed at the time limit', async () => {
  const began = performance.now();
  assert.match(
    (await check('command:echo begun; sleep 60', 1, { timeoutMs: 300 }))!,
    /no answer within 300 ms .*begun/,
  );
  assert.ok(performance.now() - began < 30_000);
});

test('what the node cannot ask is not told as a failure of the instance', async () => {
  const target: CheckTarget = {
    connect: () => Promise.reject(Object.assign(new Error('too many open files'), { code: 'EMFILE' })),
    exec: () => Promise.reject(new Error('too many executions')),
  };
  for (const text of ['tcp', 'http:/', 'command:true']) {
    const error = await check(text, 1, { target }).then(
      () => null,
      (reason: Error) => reason,
    );
    assert.match(error?.message ?? '', /too many/);
  }
});

test('a check that is no longer wanted ends at once', async () => {
  const abort = new AbortController();
  const checking = check('command:sleep 60', 1, { signal: abort.signal });
  setTimeout(() => abort.abort(), 50);
  await checking;
  await check('command:sleep 60', 1, { signal: abort.signal });
});

test.run();
