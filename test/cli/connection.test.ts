import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { adminTarget } from '../../cli/connection.ts';
import { assertFailure, collect, skerry, spawnSkerry } from '../support/cli.ts';
import { type FakeNode, problem, startFakeNode, workloadOf } from '../support/fake-node.ts';

const test = suite<{ folder: string; closing: (() => unknown)[] }>('connection');

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-cli-'));
  context.closing = [];
});
test.after.each(async ({ folder, closing }) => {
  for (const close of closing) await close();
  rmSync(folder, { recursive: true, force: true });
});

async function fake(closing: (() => unknown)[], handlers: Parameters<typeof startFakeNode>[0]): Promise<FakeNode> {
  const node = await startFakeNode(handlers);
  closing.push(() => node.close());
  return node;
}

/** A server on a socket that does with each connection what it is told. */
async function rawServer(closing: (() => unknown)[], path: string, serve: (socket: net.Socket) => void): Promise<void> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(path);
  await once(server, 'listening');
  closing.push(() => new Promise((done) => server.close(done)));
}

test('a node that never ran: the socket is named, and how to start one', async ({ folder }) => {
  const result = await skerry(['ls'], { data: folder });
  assertFailure(result, 'NODE_NOT_RUNNING', 1, /skerry up.*npm start/);
  assert.ok(result.stderr.includes(join(folder, 'skerry.sock')));
  assert.is(result.stdout, '');
});

test('a node that was killed and left its socket behind is not running', async ({ folder }) => {
  const path = join(folder, 'skerry.sock');
  // Another process makes the socket and is killed, so that nothing removes it.
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', script]), 'exit');
  assertFailure(await skerry(['ls'], { data: folder }), 'NODE_NOT_RUNNING', 1, /skerry up/);
});

test('every command that needs a node says that none runs', async ({ folder }) => {
  const source = join(folder, 'x.wasm');
  writeFileSync(source, 'x');
  for (const line of [
    'inspect x',
    'revisions x',
    'logs x',
    'logs x -f',
    'rm x',
    'scale x --max 1',
    'rollback x',
    'rollback x ab',
    'traffic x ab=100',
    'invoke x',
    'export',
    `deploy ${source}`,
  ]) {
    assertFailure(await skerry(line.split(' '), { data: folder }), 'NODE_NOT_RUNNING', 1, /skerry up/);
  }
});

test("a node of another user's is not reached, and the line says why", async ({ closing }) => {
  const node = await fake(closing, {});
  chmodSync(node.data, 0o700);
  if (process.getuid?.() === 0) {
    // Root may open everything: the command runs as nobody.
    const main = join(process.cwd(), 'cli/main.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', main, 'ls', '--data', node.data], {
      env: { PATH: process.env.PATH },
      uid: 65534,
      gid: 65534,
    });
    assertFailure(await collect(child), 'NODE_DENIED', 1, /no permission/);
  } else {
    chmodSync(node.data, 0o000);
    const result = await skerry(['ls'], { data: node.data });
    chmodSync(node.data, 0o700);
    assertFailure(result, 'NODE_DENIED', 1, /no permission/);
  }
});

test('a problem of the node is one line with its detail, its fix and its code', async ({ closing }) => {
  const node = await fake(closing, {
    'GET /v1/workloads/x': (_request, response) => problem(response, 409, 'GENERATION_CHANGED', 'x was changed'),
  });
  const result = await skerry(['inspect', 'x'], { data: node.data });
  assert.equal(result, { status: 1, stdout: '', stderr: 'x was changed; try another [GENERATION_CHANGED]\n' });
});

test('what a problem quotes cannot write to the terminal', async ({ closing }) => {
  const node = await fake(closing, {
    'GET /v1/workloads/x': (_request, response) => problem(response, 400, 'BAD', 'no \u001b[2J\nsecond line \u202e'),
  });
  const { stderr } = await skerry(['inspect', 'x'], { data: node.data });
  assert.is(stderr, 'no \\x1b[2J\\nsecond line \\u202e; try another [BAD]\n');
});

test('an answer of another version is told as such', async ({ closing }) => {
  const node = await fake(closing, {
    'GET /v1/workloads': () => ({ apps: [] }),
    'GET /v1/workloads/x': (_request, response) => void response.end('<html>'),
    'GET /v1/export': (_request, response) => void response.writeHead(404).end('nothing here'),
  });
  assertFailure(
    await skerry(['ls'], { data: node.data }),
    'API_MISMATCH',
    1,
    /workloads: .*version that the node runs/,
  );
  assertFailure(await skerry(['inspect', 'x'], { data: node.data }), 'API_MISMATCH', 1, /is not JSON/);
  assertFailure(await skerry(['export'], { data: node.data }), 'API_MISMATCH', 1, /GET \/v1\/export was answered 404/);
});

test('fields that a newer node adds are no fault', async ({ closing }) => {
  const node = await fake(closing, {
    'GET /v1/workloads': () => ({ workloads: [{ ...workloadOf('x'), colour: 'red' }], next: null }),
  });
  const result = await skerry(['ls'], { data: node.data });
  assert.is(result.stderr, '');
  assert.is(result.status, 0);
});

test('a connection that breaks during an upload is one line', async ({ folder, closing }) => {
  const source = join(folder, 'big.wasm');
  writeFileSync(source, Buffer.alloc(8 * 2 ** 20, 1));
  await rawServer(closing, join(folder, 'skerry.sock'), (socket) => {
    // Takes a part of it, then goes away as a killed node does.
    socket.once('data', () => socket.destroy());
  });
  const result = await skerry(['deploy', source], { data: folder });
  assertFailure(result, 'CONNECTION_LOST', 1, /broke during an upload; .*skerry doctor/);
});

test('a connection that breaks in the middle of an answer is one line', async ({ folder, closing }) => {
  await rawServer(closing, join(folder, 'skerry.sock'), (socket) => {
    socket.once('data', () => {
      socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"workl');
    });
  });
  assertFailure(await skerry(['ls'], { data: folder }), 'CONNECTION_LOST', 1, /broke during GET \/v1\/workloads/);
  assertFailure(await skerry(['logs', 'x'], { data: folder }), 'CONNECTION_LOST', 1, /broke during reading the log/);
});

test('what answers but speaks no HTTP is one line', async ({ folder, closing }) => {
  await rawServer(closing, join(folder, 'skerry.sock'), (socket) => {
    socket.once('data', () => socket.end('220 mail ready\r\n'));
  });
  assertFailure(await skerry(['ls'], { data: folder }), 'CONNECTION_LOST', 1, /broke during/);
});

test('--node and its token go to the admin API over TCP', async ({ closing }) => {
  const seen: (string | undefined)[] = [];
  const server = http.createServer((request, response) => {
    seen.push(request.headers.authorization);
    if (request.headers.authorization !== 'Bearer secret') return problem(response, 401, 'UNAUTHORIZED', 'no token');
    response.setHeader('content-type', 'application/json');
    response.end('{"workloads":[]}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => new Promise((done) => server.close(done)));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  assert.is((await skerry(['ls', '--node', url], { env: { SKERRY_ADMIN_TOKEN: 'secret' } })).status, 0);
  assert.is((await skerry(['ls'], { env: { SKERRY_NODE: url, SKERRY_ADMIN_TOKEN: 'secret' } })).status, 0);
  assertFailure(await skerry(['--node', url, 'ls']), 'UNAUTHORIZED', 1, /no token/);
  assert.equal(seen, ['Bearer secret', 'Bearer secret', undefined]);
});

test('a --node that is no URL, or that nothing answers at, is one line', async () => {
  assertFailure(await skerry(['ls', '--node', 'nonsense']), 'BAD_NODE_URL', 2, /http:\/\/HOST:PORT/);
  assertFailure(await skerry(['ls', '--node', 'ftp://x']), 'BAD_NODE_URL', 2, /http:\/\/HOST:PORT/);
  // Port 1 of loopback has no listener.
  assertFailure(await skerry(['ls', '--node', 'http://127.0.0.1:1']), 'NODE_NOT_RUNNING', 1, /127\.0\.0\.1:1/);
});

test('the command line goes before the environment, and a folder is looked for where the contract says', () => {
  const env = { SKERRY_DATA: '/env', SKERRY_NODE: 'http://env:1', HOME: '/home/me' };
  assert.equal(adminTarget({ data: '/flag' }, env), { socket: '/flag/skerry.sock' });
  assert.equal(adminTarget({ node: 'http://flag:1' }, env), { url: 'http://flag:1', token: undefined });
  assert.equal(adminTarget({}, env), { url: 'http://env:1', token: undefined });
  assert.equal(adminTarget({}, { SKERRY_DATA: '/env' }), { socket: '/env/skerry.sock' });
  const own = process.getuid?.() === 0 ? '/var/lib/skerry' : '/home/me/.local/share/skerry';
  assert.equal(adminTarget({}, { HOME: '/home/me' }), { socket: `${own}/skerry.sock` });
});

test('a reader that goes away (| head) ends a command quietly', async ({ closing }) => {
  const line = { time: '2026-01-31T12:00:00.000Z', revision: 'aaaa00000001', requestId: 'r1', stream: 'stdout' };
  const node = await fake(closing, {
    'GET /v1/workloads/x/logs': (_request, response) => {
      for (let i = 0; i < 50_000; i++) response.write(`${JSON.stringify({ ...line, text: `line ${i}` })}\n`);
      response.end();
    },
  });
  const child = spawnSkerry(['logs', 'x', '--data', node.data]);
  child.stdout?.once('data', () => child.stdout?.destroy());
  const { status, stderr } = await collect(child);
  assert.is(stderr, '');
  assert.is(status, 0);
});

test('SKERRY_DEBUG=1 adds the stack and the cause', async ({ folder }) => {
  const { stderr } = await skerry(['ls'], { data: folder, env: { SKERRY_DEBUG: '1' } });
  assert.match(stderr, /\[NODE_NOT_RUNNING\]\n.*\n\s+at /);
  assert.match(stderr, /connect ENOENT/);
});

test.run();
