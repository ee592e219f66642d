import { build } from 'esbuild';
import * as assert from 'uvu/assert';
import { assertFailure, collect, skerry, spawnSkerry } from '../support/cli.ts';
import { type Handler, nodeView, problem, revisionOf, workloadOf } from '../support/fake-node.ts';
import { fakeNodeSuite } from '../support/fake-node-suite.ts';

const test = fakeNodeSuite('looking');

const usage = {
  time: '2026-01-31T12:00:00.000Z',
  windowMs: 1000,
  node: {
    ...{ requestsPerSecond: 0, errorsPerSecond: 0, cpuPercent: 0 },
    ...{ memoryBytes: 0, keptBytes: 0, inFlight: 0, queued: 0 },
  },
};

const split = workloadOf('shop', {
  generation: 4,
  spec: {
    ...workloadOf('shop').spec,
    traffic: [
      { revision: 'aaaa00000001', percent: 90 },
      { revision: 'bbbb00000002', percent: 10 },
    ],
  },
  status: {
    observedGeneration: 3,
    phase: 'progressing',
    message: 'preparing bbbb00000002',
    traffic: [{ revision: 'aaaa00000001', percent: 100 }],
  },
  revisions: [
    revisionOf('bbbb00000002', {
      percent: 10,
      phase: 'preparing',
      stats: null,
      env: { MODE: 'te\u001b[31mst' },
      secrets: ['API_KEY'],
      allow: ['a.test:80', 'b.test'],
    }),
    revisionOf('aaaa00000001', { percent: 90 }),
    revisionOf('aaaabbbb0003', { percent: 0, phase: 'failed', error: 'it traps at its start' }),
  ],
});

test('ls shows name, phase, revisions with their traffic, requests, isolation and URL', async ({ start }) => {
  const node = await start({ 'GET /v1/workloads': () => ({ workloads: [workloadOf('a'), split] }) });
  const { stdout, stderr } = await skerry(['ls'], { data: node.data });
  assert.is(stderr, '');
  assert.is(
    stdout,
    `NAME  PHASE        REVISION                            REQUESTS  ISOLATION  URL
a     ready        aaaa00000001                        7         wasm       http://127.0.0.1:8080/a
shop  progressing  aaaa00000001 90%, bbbb00000002 10%  14        wasm       http://127.0.0.1:8080/shop
`,
  );
});

test('decisions shows each with what it was made from; inspect what the monitors see', async ({ start }) => {
  const at = '2026-01-31T12:00:00.000Z';
  const decisions = [
    { at, kind: 'placement', decision: 'aaaa00000001: wasm, asked for', inputs: { asked: 'wasm', cpus: 0.5 } },
    { at, kind: 'scaling', decision: 'at least 2 instances, from 1', inputs: { monitor: 'model', sure: 0.8 } },
  ];
  const finding = { monitor: 'model' as const, sees: 'too much comes', sure: 0.8, instances: 2 };
  const node = await start({
    'GET /v1/workloads/shop/decisions': () => ({ decisions }),
    'GET /v1/workloads/shop': () => ({ ...split, revisions: [revisionOf('aaaa00000001', { findings: [finding] })] }),
  });
  const { stdout } = await skerry(['decisions', 'shop'], { data: node.data });
  assert.match(stdout, /^TIME +KIND +DECISION +FROM\n/);
  assert.match(stdout, /placement +aaaa00000001: wasm, asked for +asked=wasm, cpus=0\.5\n/);
  assert.match(stdout, /scaling +at least 2 instances, from 1 +monitor=model, sure=0\.8\n$/);
  const json = await skerry(['decisions', 'shop', '--json'], { data: node.data });
  assert.equal(JSON.parse(json.stdout), { name: 'shop', decisions });
  assert.match((await skerry(['inspect', 'shop'], { data: node.data })).stdout, /model: too much comes, 80% sure/);
});

test('ls says of what has failed why', async ({ start }) => {
  const status = { ...workloadOf('b').status, phase: 'failed' as const, message: 'it ended: no\nanswer [EXITED]' };
  const workloads = [workloadOf('a'), workloadOf('b', { status })];
  const node = await start({ 'GET /v1/workloads': () => ({ workloads }) });
  const { stdout } = await skerry(['ls'], { data: node.data });
  assert.match(stdout, /\nb: it ended: no\\nanswer \[EXITED\]\n$/);
});

test('ls of an empty node says how to deploy', async ({ start }) => {
  const node = await start({ 'GET /v1/workloads': () => ({ workloads: [] }) });
  assert.match((await skerry(['ls'], { data: node.data })).stdout, /Nothing is deployed.*skerry deploy/);
  assert.equal(JSON.parse((await skerry(['ls', '--json'], { data: node.data })).stdout), { workloads: [] });
});

test('every command that prints a table prints one JSON document with --json', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads': () => ({ workloads: [split] }),
    'GET /v1/workloads/shop': () => split,
    'PUT /v1/workloads/shop/scale': () => workloadOf('shop'),
    'PUT /v1/workloads/shop/traffic': () => workloadOf('shop'),
    'POST /v1/workloads/shop/rollback': () => workloadOf('shop'),
    'GET /v1/workloads/shop/settled': () => workloadOf('shop'),
    'GET /v1/export': () => ({ workloads: [] }),
    'GET /v1/doctor': () => ({ healthy: true, problems: [], probes: [] }),
    'GET /v1/node': () => nodeView,
    'GET /v1/usage': () => ({ ...usage, workloads: [] }),
  });
  for (const line of [
    'ls',
    'top',
    'revisions shop',
    'inspect shop',
    'doctor',
    'export',
    'scale shop --max 2',
    'traffic shop bbbb=100',
    'rollback shop',
  ]) {
    const { status, stdout, stderr } = await skerry([...line.split(' '), '--json'], { data: node.data, tty: true });
    assert.is(status, 0, line);
    assert.not.ok((stdout + stderr).includes('\u001b[3'), `${line}: no colours in JSON`);
    assert.type(JSON.parse(stdout), 'object', line);
  }
  assert.equal(JSON.parse((await skerry(['inspect', 'shop', '--json'], { data: node.data })).stdout), split);
});

test('revisions lists id, time, traffic, phase and source, newest first', async ({ start }) => {
  const node = await start({ 'GET /v1/workloads/shop': () => split });
  const { stdout } = await skerry(['revisions', 'shop'], { data: node.data });
  assert.is(
    stdout,
    `REVISION      CREATED               TRAFFIC  PHASE      SOURCE
bbbb00000002  2026-01-31 12:00:00Z  10%      preparing  hello.ts
aaaa00000001  2026-01-31 12:00:00Z  90%      ready      hello.ts
aaaabbbb0003  2026-01-31 12:00:00Z  0%       failed     hello.ts
`,
  );
});

test('inspect shows what was asked for beside what is', async ({ start }) => {
  const node = await start({ 'GET /v1/workloads/shop': () => split });
  const { stdout } = await skerry(['inspect', 'shop'], { data: node.data });
  assert.match(stdout, /^shop +SPEC +STATUS$/m);
  assert.match(stdout, /^generation +4 +3 observed$/m);
  assert.match(stdout, /^traffic +aaaa00000001 90%, bbbb00000002 10% +aaaa00000001 100%$/m);
  assert.match(stdout, /^phase +progressing$/m);
  assert.match(stdout, /^message +preparing bbbb00000002$/m);
  assert.match(stdout, /^memory +64MiB/m);
  for (const figure of [
    '7 requests, 1 failed',
    'latency p50 0.80ms, p99 13ms',
    '0.0 s of CPU',
    'memory at most 1MiB a sandbox',
  ]) {
    assert.ok(stdout.includes(figure), figure);
  }
  assert.ok(stdout.includes('5 cold starts (2.00ms to make one), 2 warm'), stdout);
  assert.match(stdout, /it traps at its start/);
  assert.match(stdout, /^secrets +API_KEY$/m);
  assert.match(stdout, /^allow +a\.test:80\n +b\.test$/m);
  assert.match(stdout, /^env +MODE=te\\x1b\[31mst$/m, 'what a user wrote does not colour the terminal');
});

test('colours are for terminals, and NO_COLOR turns them off', async ({ start }) => {
  const node = await start({ 'GET /v1/workloads': () => ({ workloads: [workloadOf('a')] }) });
  const coloured = (text: string) => text.includes('\u001b[32mready\u001b[39m');
  assert.ok(coloured((await skerry(['ls'], { data: node.data, tty: true })).stdout));
  assert.not.ok(coloured((await skerry(['ls'], { data: node.data })).stdout));
  const off = await skerry(['ls'], { data: node.data, tty: true, env: { NO_COLOR: '1' } });
  assert.not.ok(coloured(off.stdout));
});

const record = (text: string, stream = 'stdout') => ({
  time: '2026-01-31T12:00:00.123Z',
  revision: 'aaaa00000001',
  requestId: 'r-1',
  stream,
  text,
});

test('logs shows time, request and stream, and no line can write to the terminal', async ({ start }) => {
  const records = [
    record('plain\ttext ü 漢'),
    record('\u001b]0;title\u0007\u001b[2Jgone\r\nnext\u009b31m', 'stderr'),
    record('it trapped', 'node'),
  ];
  const node = await start({
    'GET /v1/workloads/x/logs': (_request, response) => {
      for (const one of records) response.write(`${JSON.stringify(one)}\n`);
      response.end();
    },
  });
  const { stdout } = await skerry(['logs', 'x', '--tail', '3'], { data: node.data });
  assert.is(
    stdout,
    `2026-01-31T12:00:00.123Z r-1 out  plain\ttext ü 漢
2026-01-31T12:00:00.123Z r-1 err  \\x1b]0;title\\x07\\x1b[2Jgone\\r\\nnext\\x9b31m
2026-01-31T12:00:00.123Z r-1 node it trapped
`,
  );
  assert.is(node.requests[0]!.url, '/v1/workloads/x/logs?tail=3');
  const json = await skerry(['logs', 'x', '--json'], { data: node.data });
  assert.equal(
    json.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    records,
  );
});

test('logs tells stack frames by the file, line and column that they were written in', async ({ start }) => {
  const line = (revision: string, text: string) =>
    `${JSON.stringify({ time: '2026-01-31T12:00:00.000Z', revision, requestId: 'r', stream: 'stderr', text })}\n`;
  const { text: map } = (
    await build({
      stdin: {
        contents: 'type A = string;\n\nexport const f = (a: A) => {\n  throw a;\n};\n',
        loader: 'ts',
        sourcefile: 'lib/f.ts',
      },
      outfile: 'function.js',
      write: false,
      sourcemap: 'external',
    })
  ).outputFiles[0]!;
  const node = await start({
    'GET /v1/workloads/x/logs': (_request, response) => {
      const frames = [
        'f@function.js:2:3',
        'async*f@function.js:2:3, then',
        '@entry.js:11:75',
        'my-function.js:2:3',
        'f@function.js:99999:1',
      ];
      for (const frame of frames) response.write(line('aaaa00000001', frame));
      response.end(line('bbbb00000002', 'g@function.js:2:3'));
    },
    'GET /v1/workloads/x/revisions/aaaa00000001/source-map': (_request, response) => void response.end(map),
  });
  const { stdout, stderr } = await skerry(['logs', 'x'], { data: node.data });
  assert.is(stderr, '');
  assert.equal(
    stdout
      .trimEnd()
      .split('\n')
      .map((each) => each.replace(/^.* err {2}/, '')),
    [
      'f@lib/f.ts:4:3',
      'async*f@lib/f.ts:4:3, then',
      '@entry.js:11:75',
      'my-function.js:2:3',
      'f@function.js:99999:1',
      'g@function.js:2:3',
    ],
  );
  assert.is(node.of('GET /v1/workloads/x/revisions/aaaa00000001/source-map').length, 1, 'the map is read once');
  const json = await skerry(['logs', 'x', '--json'], { data: node.data });
  assert.is(JSON.parse(json.stdout.split('\n')[0]!).text, 'f@lib/f.ts:4:3');
});

test('log lines that arrive in pieces, inside a character too, come out whole', async ({ start }) => {
  const bytes = Buffer.from(`${JSON.stringify(record('größer 漢字'))}\n${JSON.stringify(record('zwei'))}\n`);
  const node = await start({
    'GET /v1/workloads/x/logs': (_request, response) => {
      for (const byte of bytes) response.write(Buffer.of(byte));
      response.end();
    },
  });
  const { stdout } = await skerry(['logs', 'x'], { data: node.data });
  assert.match(stdout, /größer 漢字\n.*zwei\n$/);
});

test('logs -f goes on with what comes, and Ctrl-C ends it cleanly', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads/x/logs': (_request, response) => void response.write(`${JSON.stringify(record('first'))}\n`),
  });
  const child = spawnSkerry(['logs', 'x', '-f', '--data', node.data]);
  child.stdout!.once('data', () => child.kill('SIGINT'));
  const { status, signal, stdout, stderr } = await collect(child);
  assert.is(signal, null);
  assert.is(status, 0);
  assert.is(stderr, '');
  assert.match(stdout, /first\n$/);
  assert.match(node.requests[0]!.url, /follow=true/);
});

test('--tail takes a number of lines', async ({ start }) => {
  const node = await start({});
  for (const tail of ['x', '-1', '1.5', '', '100001']) {
    const result = await skerry(['logs', 'x', `--tail=${tail}`], { data: node.data });
    assertFailure(result, 'BAD_FLAG', 2, /--tail: must be a whole number/);
  }
});

test('a workload that does not exist is one line', async ({ start }) => {
  const unknown: Handler = (_request, response) => problem(response, 404, 'NO_WORKLOAD', 'there is no workload x');
  const node = await start({
    'GET /v1/workloads/x': unknown,
    'GET /v1/workloads/x/logs': unknown,
    'PUT /v1/workloads/x/scale': unknown,
  });
  for (const line of ['inspect x', 'revisions x', 'logs x', 'rm x', 'scale x --max 1', 'traffic x ab=100']) {
    const result = await skerry(line.split(' '), { data: node.data });
    assertFailure(result, 'NO_WORKLOAD', 1, /there is no workload x/);
    assert.is(result.stdout, '');
  }
});

test.run();
