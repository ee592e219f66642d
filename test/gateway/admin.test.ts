import { readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { guest } from '../support/guests.ts';
import { RawConnection } from '../support/raw-http.ts';
import { type Answer, ask, type LocalNode, startLocal } from '../support/test-node.ts';

const TOKEN = 'a-token-of-the-admin-of-this-node';
let node: LocalNode;
/** Of the admin API over TCP. */
let tcp: string;

/** A port that was free a moment ago: the node does not say which one it took for admin. */
async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test.before(async () => {
  const port = await freePort();
  tcp = `http://127.0.0.1:${port}`;
  node = await startLocal(['--admin', `127.0.0.1:${port}`], { SKERRY_ADMIN_TOKEN: TOKEN });
  await node.admin.deploy('fn');
});
test.after(() => node.close());

function assertProblem(answer: Answer, status: number, code: string, detail?: RegExp): void {
  assert.is(answer.status, status, answer.body.toString());
  assert.is(answer.headers['content-type'], 'application/problem+json');
  const problem = answer.json();
  assert.is(problem.code, code, problem.detail);
  assert.type(problem.requestId, 'string');
  assert.ok(problem.fix.length > 0);
  if (detail) assert.match(problem.detail, detail);
}

const revisionOfFn = async () => (await node.admin.call('GET', '/v1/workloads/fn')).json().revisions[0];

const withToken = (headers: Record<string, string> = {}) => ({ authorization: `Bearer ${TOKEN}`, ...headers });

test('the socket is its owner alone, in a folder that is too', () => {
  assert.is(statSync(node.admin.socket).mode & 0o777, 0o600);
  assert.is(statSync(node.data).mode & 0o777, 0o700);
});

test('over TCP nothing is answered without the token', async () => {
  for (const path of ['/v1/node', '/metrics', '/openapi.json', '/nothing', '/v1/workloads/fn/invoke/hello']) {
    assertProblem(await ask(tcp, { path }), 401, 'UNAUTHORIZED');
  }
  for (const authorization of ['', 'Bearer', 'Bearer wrong', `Basic ${TOKEN}`, TOKEN, `Bearer ${TOKEN}x`]) {
    assertProblem(await ask(tcp, { path: '/v1/node', headers: { authorization } }), 401, 'UNAUTHORIZED');
  }
  assert.is((await ask(tcp, { path: '/v1/node', headers: withToken() })).status, 200);
  assert.is((await ask(tcp, { path: '/v1/node', headers: { authorization: `bearer ${TOKEN}` } })).status, 200);
});

test('over TCP a foreign Host or Origin is refused even with the token', async () => {
  const port = new URL(tcp).port;
  const refused = async (headers: Record<string, string>) =>
    assertProblem(await ask(tcp, { path: '/v1/node', headers: withToken(headers) }), 403, 'FORBIDDEN_HOST');
  await refused({ host: 'evil.example' });
  await refused({ host: `evil.example:${port}` });
  await refused({ host: '127.0.0.1' });
  await refused({ host: '127.0.0.1:1' });
  await refused({ origin: 'http://evil.example' });
  await refused({ origin: 'null' });
  await refused({ origin: `https://127.0.0.1:${port}` });
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`]) {
    assert.is((await ask(tcp, { path: '/v1/node', headers: withToken({ host }) })).status, 200, host);
  }
  const origin = `http://127.0.0.1:${port}`;
  assert.is((await ask(tcp, { path: '/v1/node', headers: withToken({ origin }) })).status, 200);
});

test('what is not there is a problem, on both listeners', async () => {
  assertProblem(await node.admin.call('GET', '/v1/nothing'), 404, 'NOT_FOUND');
  assertProblem(await ask(tcp, { path: '/v1/nothing', headers: withToken() }), 404, 'NOT_FOUND');
  assertProblem(await node.admin.call('GET', '/v1/workloads/nobody'), 404, 'NO_WORKLOAD', /nobody/);
  assertProblem(await node.admin.call('DELETE', '/v1/workloads/nobody'), 404, 'NO_WORKLOAD');
  assertProblem(await node.admin.call('PUT', '/v1/workloads/nobody/scale', { min: 1 }), 404, 'NO_WORKLOAD');
  assertProblem(await node.admin.call('POST', '/v1/workloads/nobody/rollback', {}), 404, 'NO_WORKLOAD');
  assertProblem(await node.admin.call('GET', '/v1/workloads/nobody/logs'), 404, 'NO_WORKLOAD');
  for (const path of ['nobody/revisions/aaaa00000001', `fn/revisions/${(await revisionOfFn()).id}`]) {
    assertProblem(await node.admin.call('GET', `/v1/workloads/${path}/source-map`), 404, 'NOT_FOUND', /source map/);
  }
  assertProblem(await node.admin.call('GET', '/v1/workloads/nobody/invoke/'), 404, 'NO_WORKLOAD');
});

test('a body that is not what was asked for is refused, and the wrong key is named', async () => {
  const put = (body: string, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
    ask(node.admin.socket, { method: 'PUT', path: '/v1/workloads/x', body, headers });
  assertProblem(await put('{"artifact":'), 400, 'INVALID_REQUEST');
  assertProblem(await put(''), 400, 'INVALID_REQUEST');
  assertProblem(await put('[]'), 400, 'INVALID_REQUEST');
  assertProblem(await put('{}', {}), 400, 'INVALID_REQUEST');
  const artifact = { digest: `sha256:${'0'.repeat(64)}`, mediaType: 'application/wasm' };
  const deploy = (more: object) => put(JSON.stringify({ artifact, label: 'x', settings: {}, ...more }));
  assertProblem(await deploy({ colour: 'red' }), 400, 'INVALID_REQUEST', /colour/);
  assertProblem(await deploy({ settings: { memroy: '1MiB' } }), 400, 'INVALID_REQUEST', /settings: .*memroy/);
  assertProblem(
    await deploy({ settings: { memory: 'lots' } }),
    400,
    'INVALID_REQUEST',
    /settings\.memory: must be a size/,
  );
  assertProblem(
    await deploy({ artifact: { ...artifact, digest: 'sha256:0' } }),
    400,
    'INVALID_REQUEST',
    /artifact\.digest/,
  );
  assertProblem(await node.admin.call('PUT', '/v1/workloads/Not_A_Label', {}), 400, 'INVALID_REQUEST', /name/);
  assertProblem(await node.admin.call('PUT', '/v1/workloads/fn/scale', { min: -1 }), 400, 'INVALID_REQUEST', /min/);
  assertProblem(
    await node.admin.call('PUT', '/v1/workloads/fn/traffic', { traffic: [] }),
    400,
    'INVALID_REQUEST',
    /traffic/,
  );
  assertProblem(
    await node.admin.call('GET', '/v1/workloads/fn/settled?timeoutMs=soon'),
    400,
    'INVALID_REQUEST',
    /timeoutMs/,
  );
});

test('a deploy of what the node does not have, or cannot run, changes nothing', async () => {
  const put = (digest: string) =>
    node.admin.call('PUT', '/v1/workloads/x', {
      artifact: { digest, mediaType: 'application/wasm' },
      label: 'x.wasm',
      settings: {},
    });
  assertProblem(await put(`sha256:${'0'.repeat(64)}`), 400, 'ARTIFACT_MISSING');
  assertProblem(await put(await node.admin.upload(Buffer.from('not wasm'))), 400, 'NOT_WASM', /x\.wasm/);
  assertProblem(await put(await node.admin.upload(readFileSync(await guest('core-module')))), 400, 'CORE_MODULE');
  assertProblem(await put(await node.admin.upload(readFileSync(await guest('no-handler')))), 400, 'NO_HTTP_HANDLER');
  assertProblem(
    await put(await node.admin.upload(readFileSync(await guest('foreign-import')))),
    400,
    'IMPORT_NOT_OFFERED',
  );
  const cut = readFileSync(await guest('behaviours')).subarray(0, 5000);
  assertProblem(await put(await node.admin.upload(cut)), 400, 'COMPONENT_INVALID');
  assertProblem(await node.admin.call('GET', '/v1/workloads/x'), 404, 'NO_WORKLOAD');
});

test('an upload that says it is too large is refused before it is sent', async () => {
  const answer = await new Promise<Answer>((resolve, reject) => {
    const headers = { 'content-length': String(2 ** 40) };
    const outgoing = request(
      { socketPath: node.admin.socket, method: 'POST', path: '/v1/artifacts', headers },
      (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece) => pieces.push(piece));
        response.on('end', () => {
          outgoing.destroy();
          const body = Buffer.concat(pieces);
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            body,
            json: () => JSON.parse(body.toString()),
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.write('a little');
  });
  assertProblem(answer, 413, 'TOO_LARGE');
});

test('the description of the API is valid OpenAPI 3.1 in which every route stands', async () => {
  const answer = await node.admin.call('GET', '/openapi.json');
  const document = answer.json();
  assert.match(document.openapi, /^3\.1\./);
  const operations = Object.entries<object>(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method} ${path}`),
  );
  assert.equal(operations.sort(), [
    'delete /v1/images',
    'delete /v1/policies',
    'delete /v1/processes/{name}',
    'delete /v1/secrets/{name}',
    'delete /v1/tokens/{name}',
    'delete /v1/volumes/{name}',
    'delete /v1/workloads/{name}',
    'get /metrics',
    'get /v1/doctor',
    'get /v1/export',
    'get /v1/images',
    'get /v1/images/inspection',
    'get /v1/images/signing-subject',
    'get /v1/node',
    'get /v1/policies',
    'get /v1/processes',
    'get /v1/processes/{name}',
    'get /v1/secrets',
    'get /v1/tokens',
    'get /v1/usage',
    'get /v1/volumes',
    'get /v1/workloads',
    'get /v1/workloads/{name}',
    'get /v1/workloads/{name}/decisions',
    'get /v1/workloads/{name}/logs',
    'get /v1/workloads/{name}/revisions/{revision}/source-map',
    'get /v1/workloads/{name}/settled',
    'post /v1/apply',
    'post /v1/artifacts',
    'post /v1/builds',
    'post /v1/images',
    'post /v1/images/prune',
    'post /v1/images/pull',
    'post /v1/images/push',
    'post /v1/images/signatures',
    'post /v1/images/tag',
    'post /v1/processes',
    'post /v1/processes/{name}/signal',
    'post /v1/processes/{name}/stop',
    'post /v1/workloads/{name}/rollback',
    'put /v1/policies',
    'put /v1/secrets/{name}',
    'put /v1/tokens/{name}',
    'put /v1/workloads/{name}',
    'put /v1/workloads/{name}/scale',
    'put /v1/workloads/{name}/traffic',
  ]);
  // Every reference leads somewhere, every operation answers something, every path parameter is declared.
  const text = JSON.stringify(document);
  for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g))
    assert.ok(document.components.schemas[name!], name);
  for (const [path, item] of Object.entries<
    Record<string, { responses: object; parameters?: { name: string; in: string }[] }>
  >(document.paths)) {
    for (const operation of Object.values(item)) {
      assert.ok(Object.keys(operation.responses).length > 0, path);
      for (const [, name] of path.matchAll(/\{(\w+)\}/g)) {
        assert.ok(
          operation.parameters?.some((each) => each.name === name && each.in === 'path'),
          `${path} ${name}`,
        );
      }
    }
  }
  const overTcp = await ask(tcp, { path: '/openapi.json', headers: withToken() });
  assert.equal(overTcp.json(), document);
});

test('metrics are in the text format of Prometheus and count what was served', async () => {
  for (let i = 0; i < 3; i++) assert.is((await ask(node.url, { path: '/fn/hello' })).status, 200);
  assert.is((await ask(node.url, { path: '/fn/trap' })).status, 500);
  const answer = await node.admin.call('GET', '/metrics');
  assert.match(String(answer.headers['content-type']), /^text\/plain; version=0\.0\.4/);
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  for (const line of answer.body.toString().split('\n').filter(Boolean)) {
    const type = /^# TYPE (\w+) (counter|gauge|histogram|summary)$/.exec(line);
    if (type) {
      assert.not(types.has(type[1]!), `${type[1]} is declared once`);
      types.set(type[1]!, type[2]!);
    }
    if (line.startsWith('#')) {
      assert.match(line, /^# (HELP|TYPE) \w+ .+/);
      continue;
    }
    const sample = /^(\w+)(\{(?:\w+="[^"\\\n]*",?)*\})? (-?[\d.e+-]+|NaN|[+-]Inf)$/.exec(line);
    assert.ok(sample, line);
    const family = [sample![1]!, sample![1]!.replace(/_(bucket|sum|count)$/, '')].find((name) => types.has(name));
    assert.ok(family, `${line} belongs to a declared family`);
    assert.not(samples.has(`${sample![1]}${sample![2] ?? ''}`), `${line} is there once`);
    samples.set(`${sample![1]}${sample![2] ?? ''}`, Number(sample![3]));
  }
  assert.ok(samples.get('skerry_requests_total{workload="fn",outcome="ok"}')! >= 3);
  assert.ok(samples.get('skerry_requests_total{workload="fn",outcome="FUNCTION_TRAPPED"}')! >= 1);
  assert.ok(samples.has('skerry_requests_in_flight{workload="fn"}'));
  assert.ok(samples.get('skerry_workload_cpu_seconds_total{workload="fn"}')! > 0);
  assert.ok(samples.get('skerry_workload_memory_peak_bytes{workload="fn"}')! > 0);
  assert.ok(samples.get('skerry_workload_sandboxes_total{workload="fn",start="cold"}')! >= 4);
  assert.ok(samples.has('skerry_kept_memory_bytes'));
  assert.ok(samples.has('process_cpu_seconds_total'));
});

test('a sample of the usage tells what each workload did in its window', async () => {
  const sampling = node.admin.call('GET', '/v1/usage?windowMs=1000');
  await ask(node.url, { path: '/fn/hello' });
  const { workloads, node: whole } = (await sampling).json();
  const fn = workloads.find((workload: { name: string }) => workload.name === 'fn');
  assert.ok(fn.requestsPerSecond > 0);
  assert.ok(fn.p50Ms > 0 && fn.p99Ms >= fn.p50Ms);
  assert.ok(fn.cpuPercent > 0 && fn.memoryPeakBytes > 0 && fn.coldStarts >= 1);
  assert.ok(whole.memoryBytes > 2 ** 20);
  assertProblem(await node.admin.call('GET', '/v1/usage?windowMs=1'), 400, 'INVALID_REQUEST', /windowMs/);
});

test('a deploy of more than the machine has is refused and changes nothing', async () => {
  const { artifact } = await revisionOfFn();
  const settings = { cpus: 256 };
  const refused = await node.admin.call('PUT', '/v1/workloads/huge', { artifact, label: 'huge', settings });
  assertProblem(refused, 400, 'TOO_LARGE', /huge asks for 256 cores/);
  assertProblem(await node.admin.call('GET', '/v1/workloads/huge'), 404, 'NO_WORKLOAD');
});

test('the decisions of a workload are told with what they were made from', async () => {
  const { decisions } = (await node.admin.call('GET', '/v1/workloads/fn/decisions')).json();
  const placement = decisions.find(({ kind }: { kind: string }) => kind === 'placement');
  assert.match(placement.decision, /wasm, auto: .*component/);
  assert.is(placement.inputs.asked, 'auto');
  assert.is(placement.inputs.artifact, 'application/wasm');
  assertProblem(await node.admin.call('GET', '/v1/workloads/nobody/decisions'), 404, 'NO_WORKLOAD');
});

test('inspecting a workload tells latency, CPU time, memory and starts of its revisions', async () => {
  assert.is((await ask(node.url, { path: '/fn/hello' })).status, 200);
  const { stats } = await revisionOfFn();
  assert.ok(stats.requests >= 1 && stats.coldStarts >= 1);
  for (const figure of ['cpuMs', 'memoryBytes', 'startMs', 'p50Ms', 'p99Ms']) assert.ok(stats[figure] > 0, figure);
});

test('logs hold what a function prints with the id of its request, and follow it live', async () => {
  const connection = await new Promise<{ lines: string[]; more(): Promise<void>; end(): void }>((resolve, reject) => {
    const lines: string[] = [];
    let wake = () => {};
    const outgoing = request(
      { socketPath: node.admin.socket, path: '/v1/workloads/fn/logs?follow=true&tail=0' },
      (response) => {
        response.on('data', (piece: Buffer) => {
          lines.push(...piece.toString().split('\n').filter(Boolean));
          wake();
        });
        response.on('error', () => {});
        const more = () =>
          new Promise<void>((go) => {
            wake = go;
          });
        resolve({ lines, more, end: () => response.destroy() });
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
  const answer = await ask(node.url, { path: '/fn/log' });
  while (connection.lines.length < 2) await connection.more();
  connection.end();
  const followed = connection.lines.map((line) => JSON.parse(line));
  assert.equal(followed.map(({ stream, text }) => `${stream} ${text}`).sort(), [
    'stderr a line on stderr',
    'stdout a line on stdout',
  ]);
  for (const { requestId } of followed) assert.is(requestId, answer.headers['x-request-id']);
  const past = await node.admin.call('GET', '/v1/workloads/fn/logs?tail=1000');
  assert.is(past.headers['content-type'], 'application/x-ndjson');
  const records = past.body
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  for (const record of followed) assert.ok(records.some((each) => JSON.stringify(each) === JSON.stringify(record)));
});

test('invoke passes method, path, query, headers, body and status byte for byte', async () => {
  const invoke = (path: string, more: object = {}) =>
    ask(node.admin.socket, { path: `/v1/workloads/fn/invoke${path}`, ...more });
  const seen = (
    await invoke('/headers?a=%20b&&c', {
      method: 'PATCH',
      headers: { 'x-twice': ['1', '2'], authorization: 'Bearer mine' },
    })
  ).json();
  assert.is(seen.method, 'PATCH');
  assert.is(seen.target, '/headers?a=%20b&&c');
  const header = (name: string) =>
    seen.headers.filter(([key]: string[]) => key === name).map(([, value]: string[]) => value);
  assert.equal(header('x-twice'), ['1', '2']);
  assert.equal(header('authorization'), ['Bearer mine']);
  assert.is((await invoke('/status/418')).status, 418);
  const body = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 256));
  assert.ok((await invoke('/echo', { method: 'POST', body })).body.equals(body));
  assert.equal((await invoke('/cookies')).headers['set-cookie'], ['a=1; Path=/', 'b=2; HttpOnly']);
  assert.is((await invoke('')).status, 404, 'no path is the root, which this guest does not know');
  assert.is((await ask(node.admin.socket, { path: '/v1/workloads/%66n/invoke/hello' })).body.toString(), 'hello');
  assertProblem(await invoke('/trap'), 500, 'FUNCTION_TRAPPED');
});

test('invoke with HEAD asks the function, and answers what it answered', async () => {
  for (const where of [node.admin.socket, tcp]) {
    const head = (path: string) =>
      ask(where, {
        method: 'HEAD',
        path: `/v1/workloads/fn/invoke${path}`,
        headers: where === tcp ? withToken() : {},
      });
    const teapot = await head('/status/418');
    assert.is(teapot.status, 418);
    assert.not('x-hono-already-sent' in teapot.headers);
    assert.equal((await head('/cookies')).headers['set-cookie'], ['a=1; Path=/', 'b=2; HttpOnly']);
    assert.is((await head('/trap')).status, 500);
    assert.is((await ask(where, { method: 'HEAD', path: '/v1/node', headers: withToken() })).status, 200);
  }
});

test("the node's own token is not passed on to a function", async () => {
  const answer = await ask(tcp, { path: '/v1/workloads/fn/invoke/headers', headers: withToken() });
  assert.is(answer.status, 200);
  assert.not.match(answer.body.toString(), new RegExp(TOKEN));
});

test('garbage on the admin socket and port is answered or closed on, and the API goes on', async () => {
  for (const bytes of [
    'nonsense\r\n\r\n',
    'GET / HTTP/1.1\r\nhost: a/b\r\n\r\n',
    'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n',
    '\x16\x03\x01\0\0',
  ]) {
    const connection = await RawConnection.open(tcp);
    await connection.write(bytes);
    await connection.write('GET / HTTP/1.1\r\nconnection: close\r\n\r\n');
    connection.destroy();
  }
  assert.is((await ask(tcp, { path: '/v1/node', headers: withToken() })).status, 200);
});

test('apply says what it would do, does all of it, and export gives it back', async () => {
  const digest = await node.admin.upload(readFileSync(await guest('behaviours')));
  const artifact = { digest, mediaType: 'application/wasm' };
  const revision = (label: string) => ({ artifact, label, percent: 100, settings: {} });
  const workloads = [
    {
      name: 'a',
      settings: { memory: '48MiB', routes: ['/only-a'], env: { A: 'b' }, idle: '5s' },
      revisions: [revision('a')],
    },
    { name: 'b', settings: { concurrency: 3, timeout: '1500ms' }, revisions: [revision('b')] },
  ];
  const dry = (await node.admin.call('POST', '/v1/apply', { workloads, dryRun: true })).json();
  assert.equal(
    dry.changes.map(({ action }: { action: string }) => action),
    ['create', 'create'],
  );
  assert.is(dry.applied, false);
  assertProblem(await node.admin.call('GET', '/v1/workloads/a'), 404, 'NO_WORKLOAD');
  const clash = [...workloads, { name: 'c', settings: { routes: ['/only-a'] }, revisions: [revision('c')] }];
  assertProblem(await node.admin.call('POST', '/v1/apply', { workloads: clash, dryRun: false }), 409, 'ROUTE_CLASH');
  assertProblem(await node.admin.call('GET', '/v1/workloads/a'), 404, 'NO_WORKLOAD');
  assertProblem(
    await node.admin.call('POST', '/v1/apply', { workloads: [workloads[0], workloads[0]], dryRun: false }),
    400,
    'INVALID_REQUEST',
    /twice/,
  );
  assert.is((await node.admin.call('POST', '/v1/apply', { workloads, dryRun: false })).json().applied, true);
  const exported = (await node.admin.call('GET', '/v1/export'))
    .json()
    .workloads.filter(({ name }: { name: string }) => name !== 'fn');
  assert.is(exported.length, 2);
  const again = exported.map(({ name, image, ...settings }: { name: string; image: string }) => ({
    name,
    settings,
    revisions: [
      { artifact: { digest: image, mediaType: 'application/wasm' }, label: name, percent: 100, settings: {} },
    ],
  }));
  const plan = (await node.admin.call('POST', '/v1/apply', { workloads: again, dryRun: true })).json();
  assert.equal(
    plan.changes.map(({ action, details }: { action: string; details: string[] }) => [action, details]),
    [
      ['unchanged', []],
      ['unchanged', []],
    ],
  );
});

test('an apply of revisions with shares says what each is, and one of them that cannot run changes nothing', async () => {
  const mediaType = 'application/wasm';
  const artifact = { digest: await node.admin.upload(readFileSync(await guest('behaviours'))), mediaType };
  const broken = { digest: await node.admin.upload(Buffer.from('not wasm')), mediaType };
  const apply = (second: object, percent: number) =>
    node.admin.call('POST', '/v1/apply', {
      workloads: [
        {
          name: 'canary',
          settings: { memory: '48MiB' },
          revisions: [
            { artifact, label: 'old.wasm', percent: 100 - percent, settings: {} },
            { label: 'new.wasm', percent, ...second },
          ],
        },
      ],
      dryRun: false,
    });
  assertProblem(await apply({ artifact: broken, settings: {} }, 10), 400, 'NOT_WASM', /new\.wasm/);
  assertProblem(await apply({ artifact, settings: { min: 1 } }, 10), 400, 'INVALID_REQUEST', /settings: .*min/);
  assertProblem(await apply({ artifact, settings: {} }, 10), 400, 'REVISION_TWICE', /canary/);
  assertProblem(await apply({ artifact, settings: { memory: '64MiB' } }, 0), 400, 'INVALID_REQUEST', /percent/);
  assertProblem(await node.admin.call('GET', '/v1/workloads/canary'), 404, 'NO_WORKLOAD');
  const [change] = (await apply({ artifact, settings: { memory: '64MiB' } }, 10)).json().changes;
  const { traffic } = (await node.admin.call('GET', '/v1/workloads/canary')).json().spec;
  const [old, fresh] = traffic.map((share: { revision: string }) => share.revision);
  assert.is(
    change.details.filter((line: string) => line.includes('cpus')).length,
    1,
    'what both say alike stands once',
  );
  for (const line of [`${old} memory: 48MiB`, `${fresh} memory: 64MiB`, `traffic: ${old}=90 ${fresh}=10`]) {
    assert.ok(change.details.includes(line), `${line} in ${change.details.join('\n')}`);
  }
  const [next] = (await apply({ artifact, settings: { memory: '96MiB' } }, 20)).json().changes;
  assert.is(next.action, 'update');
  const last = next.details[0].split(' ')[0];
  assert.equal(next.details, [
    `${last} memory: 48MiB -> 96MiB`,
    `traffic: ${old}=90 ${fresh}=10 -> ${old}=80 ${last}=20`,
  ]);
  await node.admin.call('DELETE', '/v1/workloads/canary');
});

test('a workload shows its spec and status side by side, with nothing of it left when it is removed', async () => {
  const view = await node.admin.deploy('gone');
  assert.is(view.status.phase, 'ready');
  assert.is(view.status.observedGeneration, view.generation);
  assert.equal(view.status.traffic, view.spec.traffic);
  assert.equal(view.spec.routes, ['gone.localhost/*', '/gone/*']);
  assert.equal(view.urls, [`${node.url}/gone`]);
  assert.is((await node.admin.call('DELETE', '/v1/workloads/gone')).status, 204);
  assert.is((await ask(node.url, { path: '/gone/hello' })).status, 404);
  assertProblem(await node.admin.call('GET', '/v1/workloads/gone'), 404, 'NO_WORKLOAD');
});

test('a removed workload is waited for until its last request is over', async () => {
  await node.admin.deploy('slow');
  const connection = await RawConnection.open(node.url);
  await connection.write('POST /slow/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf');
  const inFlight = async () => (await node.admin.call('GET', '/v1/workloads/slow')).json().revisions[0].stats.inFlight;
  while ((await inFlight()) === 0);
  await node.admin.call('DELETE', '/v1/workloads/slow');
  const settled = (timeoutMs: number) => node.admin.call('GET', `/v1/workloads/slow/settled?timeoutMs=${timeoutMs}`);
  const gone = settled(60_000);
  assertProblem(await settled(0), 503, 'REMOVING', /slow is removed/);
  await connection.write('whole');
  assert.is((await connection.response()).body.toString(), 'halfwhole');
  assertProblem(await gone, 404, 'NO_WORKLOAD');
  connection.destroy();
});

test('doctor and node tell what runs here', async () => {
  const doctor = (await node.admin.call('GET', '/v1/doctor')).json();
  assert.is(doctor.healthy, true);
  const parts = doctor.probes.map(({ part }: { part: string }) => part);
  for (const part of ['wasm', 'container', 'vm', 'machine', 'disk', 'memory', 'cgroups', 'KVM'])
    assert.ok(parts.includes(part), part);
  const view = (await node.admin.call('GET', '/v1/node')).json();
  assert.is(view.gateway, node.url);
  assert.is(view.pid, process.pid);
  assert.match(view.engine, /^jco /);
});

test.run();
