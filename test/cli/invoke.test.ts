import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { assertFailure, collect, skerry, spawnSkerry } from '../support/cli.ts';
import { type Handler, problemOf } from '../support/fake-node.ts';
import { fakeNodeSuite } from '../support/fake-node-suite.ts';

const test = fakeNodeSuite('invoke');

const ok: Handler = (_request, response) => void response.end('fine\n');

test('a request goes to the path as it was written, and the body comes to stdout', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads/x/invoke/': ok,
    'GET /v1/workloads/x/invoke/a%2Fb/../c': ok,
    'GET /v1/workloads/x/invoke/caf%C3%A9%20%23': ok,
  });
  assert.equal(await skerry(['invoke', 'x'], { data: node.data }), { status: 0, stdout: 'fine\n', stderr: '' });
  await skerry(['invoke', 'x', '/a%2Fb/../c?q=1&q=a+b'], { data: node.data });
  await skerry(['invoke', 'x', 'café #'], { data: node.data });
  assert.equal(
    node.requests.map((request) => request.url.slice('/v1/workloads/x/invoke'.length)),
    ['/', '/a%2Fb/../c?q=1&q=a+b', '/caf%C3%A9%20%23'],
  );
  assert.is(node.requests[0]!.headers.host, 'x.localhost');
});

test('method, headers and body are those that were given', async ({ start }) => {
  const node = await start({
    'POST /v1/workloads/x/invoke/': ok,
    'PUT /v1/workloads/x/invoke/': ok,
    'DELETE /v1/workloads/x/invoke/': ok,
  });
  await skerry(['invoke', 'x', '-d', 'a=1', '-H', 'X-A: 1', '-H', 'x-a:  2 ', '-H', 'Host: example.com'], {
    data: node.data,
  });
  const [request] = node.requests;
  assert.is(request!.method, 'POST');
  assert.is(request!.body.toString(), 'a=1');
  assert.is(request!.headers['x-a'], '1, 2');
  assert.is(request!.headers.host, 'example.com');
  await skerry(['invoke', 'x', '-X', 'put', '-d', '@-'], { data: node.data, stdin: 'from stdin' });
  assert.is(node.of('PUT /v1/workloads/x/invoke/')[0]!.body.toString(), 'from stdin');
  // Methods that usually have no body take one, too.
  await skerry(['invoke', 'x', '-X', 'DELETE', '-d', '@-'], { data: node.data, stdin: 'why' });
  assert.is(node.of('DELETE /v1/workloads/x/invoke/')[0]!.body.toString(), 'why');
});

test('a body comes from a file with --data-file', async ({ start }) => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-invoke-'));
  try {
    const file = join(folder, 'body');
    const bytes = Buffer.alloc(300_000, 7);
    writeFileSync(file, bytes);
    const node = await start({ 'POST /v1/workloads/x/invoke/': ok });
    await skerry(['invoke', 'x', '--data-file', file], { data: node.data });
    assert.ok(node.requests[0]!.body.equals(bytes));
    const missing = await skerry(['invoke', 'x', '--data-file', join(folder, 'none')], { data: node.data });
    assertFailure(missing, 'UNREADABLE', 1, /none cannot be read: there is no such file/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('-i prints the head as well', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads/x/invoke/': (_request, response) => {
      response.writeHead(201, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'content-length', '2']);
      response.end('ok');
    },
  });
  const { stdout } = await skerry(['invoke', 'x', '-i'], { data: node.data });
  assert.match(stdout, /^HTTP\/1\.1 201 Created\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n/);
  assert.ok(stdout.endsWith('\r\n\r\nok'));
});

test('bytes pass through as they are, and as they come', async ({ start }) => {
  const bytes = Buffer.from([0, 255, 10, 27, 200]);
  const held: { end?: () => void } = {};
  const node = await start({
    'GET /v1/workloads/x/invoke/': (_request, response) => {
      response.write(bytes);
      held.end = () => response.end(bytes);
    },
  });
  const child = spawnSkerry(['invoke', 'x', '--data', node.data]);
  const got: Buffer[] = [];
  // The second half is written only once the first one has come out.
  child.stdout!.once('data', () => held.end?.());
  child.stdout!.on('data', (chunk) => got.push(chunk));
  await new Promise((done) => child.once('close', done));
  assert.ok(Buffer.concat(got).equals(Buffer.concat([bytes, bytes])));
});

test('an answer of 400 or more exits 22, its body on stdout and a line on stderr', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads/x/invoke/': (_request, response) => void response.writeHead(404).end('no such page\n'),
  });
  const result = await skerry(['invoke', 'x'], { data: node.data });
  assertFailure(result, 'ANSWERED', 22, /x answered 404 Not Found; see `skerry logs x`/);
  assert.is(result.stdout, 'no such page\n');
});

test("a failure of the function is told in the node's own words", async ({ start }) => {
  const trapped = JSON.stringify(problemOf(500, 'FUNCTION_TRAPPED', 'the function trapped: unreachable'));
  const node = await start({
    'GET /v1/workloads/x/invoke/': (_request, response) => {
      const head = { 'content-type': 'application/problem+json', 'content-length': trapped.length };
      response.writeHead(500, head).end(trapped);
    },
  });
  const result = await skerry(['invoke', 'x'], { data: node.data });
  assertFailure(result, 'FUNCTION_TRAPPED', 22, /the function trapped: unreachable/);
  assert.is(result.stdout, trapped);
});

test('a workload that does not exist has no answer to show', async ({ start }) => {
  const unknown = JSON.stringify(problemOf(404, 'NO_WORKLOAD', 'there is no workload x'));
  const node = await start({
    'GET /v1/workloads/x/invoke/': (_request, response) => {
      const head = { 'content-type': 'application/problem+json', 'content-length': unknown.length };
      response.writeHead(404, head).end(unknown);
    },
  });
  const result = await skerry(['invoke', 'x'], { data: node.data });
  assertFailure(result, 'NO_WORKLOAD', 1, /there is no workload x/);
  assert.is(result.stdout, '');
});

test('a function that breaks off is no success', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads/x/invoke/': (_request, response) => {
      response.write('half of it', () => response.destroy());
    },
  });
  assertFailure(await skerry(['invoke', 'x'], { data: node.data }), 'BROKE_OFF', 18, /broke off in the middle/);
});

test('a header that is none, or two bodies, are refused', async ({ start }) => {
  const node = await start({});
  for (const line of ['no colon', 'spa ce: x', ': x', 'a: b\nc: d']) {
    assertFailure(await skerry(['invoke', 'x', '-H', line], { data: node.data }), 'BAD_FLAG', 2, /^-H: .*NAME: VALUE/);
  }
  const both = await skerry(['invoke', 'x', '-d', 'a', '--data-file', 'b'], { data: node.data });
  assertFailure(both, 'USAGE', 2, /give the body once/);
  assert.is(node.requests.length, 0);
});

test('a method that is no word of HTTP is refused, and CONNECT as the gateway refuses it', async ({ start }) => {
  const node = await start({});
  for (const method of ['G T', '', 'GET\r\nX: y', 'GÉT', 'GET/']) {
    const refused = await skerry(['invoke', 'x', '-X', method], { data: node.data });
    assertFailure(refused, 'BAD_FLAG', 2, /^-X: .* must be one word/);
  }
  for (const method of ['CONNECT', 'connect']) {
    const refused = await skerry(['invoke', 'x', '-X', method], { data: node.data });
    assertFailure(refused, 'METHOD_NOT_OFFERED', 1, /the gateway does not offer CONNECT; use an ordinary HTTP method/);
  }
  assert.is(node.requests.length, 0);
});

test('an answer to HEAD of 400 or more exits 22 as any other', async ({ start }) => {
  const node = await start({
    'HEAD /v1/workloads/x/invoke/': (_request, response) => void response.writeHead(418).end(),
  });
  const result = await skerry(['invoke', 'x', '-X', 'HEAD'], { data: node.data });
  assertFailure(result, 'ANSWERED', 22, /x answered 418/);
  assert.is(result.stdout, '');
});

test('a reader that goes away ends it quietly', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads/x/invoke/': (_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65536)));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    },
  });
  const child = spawnSkerry(['invoke', 'x', '--data', node.data]);
  child.stdout!.once('data', () => child.stdout!.destroy());
  const { status, stderr } = await collect(child);
  assert.is(stderr, '');
  assert.is(status, 0);
});

test.run();
