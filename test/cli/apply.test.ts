import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { PlanRequest } from '../../gateway/admin/schemas.ts';
import { assertFailure, skerry } from '../support/cli.ts';
import { DIGEST, type FakeNode, type Handler, problem, startFakeNode, workloadOf } from '../support/fake-node.ts';

interface Scene {
  folder: string;
  file(name: string, text: string): string;
  node(handlers?: Record<string, Handler>): Promise<FakeNode>;
  nodes: FakeNode[];
}

const test = suite<Scene>('apply');

const WARNING = 'its route /new/x takes requests from new, which has /new/* by default';

/** A node where `old` is to be updated, and everything else is new. */
const planning: Record<string, Handler> = {
  'POST /v1/artifacts': (request) => ({ digest: DIGEST, size: request.body.length }),
  'POST /v1/apply': (request) => {
    const { workloads, dryRun }: PlanRequest = JSON.parse(request.body.toString());
    const changes = workloads.map(({ name }) => {
      if (name === 'old')
        return {
          name,
          action: 'update',
          details: ['memory: 64MiB -> 96MiB', 'min: 0 -> 1'],
          warnings: [WARNING],
          generation: 1,
        };
      if (name === 'same') return { name, action: 'unchanged', details: [], warnings: [], generation: 1 };
      return { name, action: 'create', details: [], warnings: [], generation: 1 };
    });
    return { changes, applied: !dryRun };
  },
  'GET /v1/workloads/new/settled': () => workloadOf('new'),
  'GET /v1/workloads/old/settled': () => workloadOf('old'),
};

test.before.each((scene) => {
  scene.folder = mkdtempSync(join(tmpdir(), 'skerry-apply-'));
  scene.nodes = [];
  scene.file = (name, text) => {
    const path = join(scene.folder, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
    return path;
  };
  scene.node = async (handlers = planning) => {
    const node = await startFakeNode(handlers);
    scene.nodes.push(node);
    return node;
  };
});
test.after.each(async ({ folder, nodes }) => {
  for (const node of nodes) await node.close();
  rmSync(folder, { recursive: true, force: true });
});

const plans = (node: FakeNode): PlanRequest[] => {
  return node.of('POST /v1/apply').map((request) => JSON.parse(request.body.toString()));
};

/** One revision of DIGEST, as a plan has it: what it is, the node knows of what it has. */
function revision(label: string, percent = 100, settings = {}): PlanRequest['workloads'][number]['revisions'][number] {
  const made = label === DIGEST ? {} : { mediaType: 'application/wasm' };
  return { artifact: { digest: DIGEST, ...made }, label, percent, settings };
}

const YAML = `
workloads:
  - name: new
    source: ./new.wasm
    env: { MODE: test }
  - name: old
    image: ${DIGEST}
    memory: 96MiB
    min: 1
  - name: same
    image: ${DIGEST}
`;

test('says what it will change, field by field, then changes it and waits', async (scene) => {
  const node = await scene.node();
  scene.file('new.wasm', '\0asm');
  const result = await skerry(['apply', '-f', scene.file('all.yaml', YAML)], { data: node.data });
  assert.is(result.stderr, '');
  assert.is(
    result.stdout,
    `+ create    new
~ update    old
    memory: 64MiB -> 96MiB
    min: 0 -> 1
    warning: ${WARNING}
= unchanged same
Applied: 1 created, 1 updated, 1 unchanged
`,
  );
  assert.equal(
    plans(node).map((plan) => plan.dryRun),
    [true, false],
  );
  assert.equal(plans(node)[1]!.workloads, [
    { name: 'new', settings: { env: { MODE: 'test' } }, revisions: [revision(join(scene.folder, 'new.wasm'))] },
    { name: 'old', settings: { memory: '96MiB', min: 1 }, revisions: [revision(DIGEST)] },
    { name: 'same', settings: {}, revisions: [revision(DIGEST)] },
  ]);
  assert.is(node.of('GET /v1/workloads/new/settled').length, 1);
  assert.is(node.of('GET /v1/workloads/same/settled').length, 0, 'what is unchanged is not waited for');
});

test('build says how a folder is built, and is refused where it means nothing', async (scene) => {
  const node = await scene.node();
  scene.file('site/index.html', '');
  scene.file('site/go.mod', 'no module');
  const apply = (text: string) => skerry(['apply', '-f', scene.file('all.yaml', text)], { data: node.data });
  const folder = (build: string) => apply(`workloads:\n  - name: new\n    source: ./site\n    build: ${build}\n`);
  assertFailure(
    await folder('{ builder: go }'),
    'SETTING',
    1,
    /all\.yaml:4:12: workloads\[0\]\.build: --builder go: .*no go\.mod/,
  );
  assertFailure(
    await folder('{ base: alpine }'),
    'SETTING',
    1,
    /:4:12: .*base: the builder static begins from no image/,
  );
  assertFailure(await folder('{ network: true }'), 'SETTING', 1, /:4:12: .*network: the builder static has no steps/);
  assertFailure(await folder('{ builder: cobol }'), 'SETTING', 1, /build\.builder: must be one of/);
  assertFailure(await folder('{ bass: x }'), 'SETTING', 1, /build\.bass/);
  const image = await apply(`workloads:\n  - name: new\n    image: ${DIGEST}\n    build: {}\n`);
  assertFailure(image, 'SETTING', 1, /:4:5: workloads\[0\]\.build: goes with no image/);
  scene.file('new.wasm', '\0asm');
  const file = await apply('workloads:\n  - name: new\n    source: ./new.wasm\n    build: { network: true }\n');
  assertFailure(file, 'SETTING', 1, /:4:12: workloads\[0\]\.build: .*new\.wasm is no folder/);
  assert.equal(plans(node), []);
});

test('--dry-run only says it', async (scene) => {
  const node = await scene.node();
  scene.file('new.wasm', '\0asm');
  const path = scene.file('all.yaml', YAML);
  const { stdout, status } = await skerry(['apply', '-f', path, '--dry-run'], { data: node.data });
  assert.is(status, 0);
  assert.match(stdout, /update {4}old\n.*Dry run: nothing was changed\n$/s);
  assert.equal(
    plans(node).map((plan) => plan.dryRun),
    [true],
  );
  const json = await skerry(['apply', '-f', path, '--dry-run', '--json'], { data: node.data });
  assert.is(JSON.parse(json.stdout).changes.length, 3);
});

test('takes the same from TOML, from JSON and from stdin', async (scene) => {
  const toml = `[[workloads]]\nname = "new"\nimage = "${DIGEST}"\ncpus = 0.25\n`;
  const json = JSON.stringify({ workloads: [{ name: 'new', image: DIGEST, cpus: 0.25 }] });
  const yaml = `workloads: [{ name: new, image: "${DIGEST}", cpus: 0.25 }]`;
  const node = await scene.node();
  const run = async (args: string[], stdin?: string) => {
    const result = await skerry(['apply', ...args], { data: node.data, ...(stdin === undefined ? {} : { stdin }) });
    assert.is(result.stderr, '');
  };
  await run(['-f', scene.file('a.toml', toml)]);
  await run(['-f', scene.file('a.json', json)]);
  await run(['-f', scene.file('a.yml', yaml)]);
  for (const text of [toml, json, yaml]) await run(['-f', '-'], text);
  const [first, ...others] = plans(node).filter((plan) => !plan.dryRun);
  assert.is(others.length, 5);
  assert.equal(first!.workloads[0]!.settings, { cpus: 0.25 });
  for (const other of others) assert.equal(other, first);
});

test('a source is a path from the folder of the file, and its skerry.toml goes below what the file says', async (scene) => {
  const node = await scene.node();
  scene.file('deep/api/skerry.toml', 'name = "other"\nmain = "a.wasm"\nmemory = "80MiB"\npriority = 2\n');
  scene.file('deep/api/a.wasm', '\0asm');
  const path = scene.file('deep/all.yaml', 'workloads:\n  - name: new\n    source: api\n    priority: 7\n');
  const result = await skerry(['apply', '-f', path], { data: node.data });
  assert.is(result.stderr, '');
  const [workload] = plans(node)[0]!.workloads;
  assert.is(workload!.name, 'new');
  assert.equal(workload!.settings, { memory: '80MiB', priority: 7 });
});

test('a fault of the file is told with file, line and column, and nothing is sent', async (scene) => {
  const node = await scene.node();
  const only = (lines: string) => `workloads:\n  - name: a\n${lines}`;
  const split = (...shares: number[]) =>
    `    revisions: [${shares.map((traffic) => `{ traffic: ${traffic}, image: "${DIGEST}" }`).join(', ')}]\n`;
  const item = (lines: string) => `workloads:\n  - name: a\n    image: ${DIGEST}\n${lines}`;
  for (const [name, text, at, pattern] of [
    ['a.yaml', 'workloads: [\n', '2:1', /Flow sequence/],
    ['a.yaml', 'workloads:\n  - name: a\n   b: c\n', '3:1', /./],
    ['a.yaml', 'workloads: *gone\n', '1:1', /gone/],
    ['a.yaml', item('    revisions: []\n'), '4:16', /workloads\[0\]\.revisions: must not be empty/],
    ['a.yaml', '', '1:1', /must be a table/],
    ['a.yaml', 'workload:\n  - name: a\n', '1:1', /workload/],
    ['a.yaml', item('    memroy: 64MiB\n'), '4:5', /workloads\[0\]\.memroy: is no known setting; did you mean memory/],
    ['a.yaml', item('    memory: 1KiB\n'), '4:13', /workloads\[0\]\.memory: must be a size/],
    ['a.yaml', item('    env: { A: 1 }\n'), '4:15', /workloads\[0\]\.env\.A: must be text in quotes/],
    ['a.yaml', item(`  - name: a\n    image: ${DIGEST}\n`), '4:11', /workloads\[1\]\.name: a is there twice/],
    ['a.yaml', item('    source: x.ts\n'), '3:5', /workloads\[0\]\.image: goes with no source/],
    ['a.yaml', 'workloads:\n  - name: a\n', '2:5', /workloads\[0\]: has neither source nor image/],
    ['a.yaml', item(split(90, 10)), '4:5', /workloads\[0\]\.revisions: goes with no image/],
    [
      'a.yaml',
      only(split(90, 20)),
      '3:16',
      /workloads\[0\]\.revisions: must have traffic that adds up to 100, not 110/,
    ],
    ['a.yaml', only(split(100, 0)), '3:128', /workloads\[0\]\.revisions\[1\]\.traffic: must be a whole number from 1/],
    [
      'a.yaml',
      only('    revisions: [{ traffic: 100 }]\n'),
      '3:17',
      /workloads\[0\]\.revisions\[0\]\.image: is missing/,
    ],
    [
      'a.toml',
      `[[workloads]]\nname = "a"\n[[workloads.revisions]]\ntraffic = 100\nimage = "${DIGEST}"\nmin = 1\n`,
      '6:1',
      /workloads\[0\]\.revisions\[0\]\.min: is no known setting; the keys here are traffic, image, isolation/,
    ],
    [
      'a.yaml',
      'workloads:\n  - name: a\n    source: gone.ts\n',
      '3:13',
      /workloads\[0\]\.source: there is no file .*gone\.ts/,
    ],
    ['a.yaml', 'workloads:\n  - image: x\n', '2:5', /workloads\[0\]\.name: is missing/],
    [
      'a.toml',
      '[[workloads]]\nname = "a"\nimage = "x"\n[[workloads]]\nname = "B"\n',
      '3:9',
      /must be sha256: and 64.*and 1 more/,
    ],
    ['a.toml', '[[workloads]]\nname = "a"\n[workloads.env]\nA = 1\n', '4:5', /workloads\[0\]\.env\.A: must be text/],
    ['a.toml', '[[workloads]\n', '1:13', /expected end of table array/],
    ['a.json', '{"workloads": [{"name": "a", "cpus": 1,}]}', '1:1', /is not JSON/],
    ['a.json', '{"workloads": [\n {"name": "a" "cpus": 1}]}', '2:15', /./],
    [
      'a.json',
      '{"workloads": [\n {"name": "a", "cpus": "1"}]}',
      '2:24',
      /workloads\[0\]\.cpus: must be a number of cores/,
    ],
  ] as const) {
    const path = scene.file(name, text);
    const result = await skerry(['apply', '-f', path], { data: node.data });
    assert.is(result.status, 1, result.stderr);
    assert.ok(result.stderr.startsWith(`${path}:${at}: `), `${at} in ${result.stderr}`);
    assert.match(result.stderr, pattern);
    assert.match(result.stderr, /^[^\n]+; [^\n]+\[(SETTING|SYNTAX)\]\n$/);
  }
  assert.is(node.requests.length, 0);
});

test('a file that is missing, or of no known format, is one line', async (scene) => {
  const options = { data: scene.folder };
  const gone = await skerry(['apply', '-f', join(scene.folder, 'gone.yaml')], options);
  assertFailure(gone, 'UNREADABLE', 1, /gone\.yaml cannot be read: there is no such file/);
  assertFailure(await skerry(['apply', '-f', scene.file('a.txt', '')], options), 'FILE_FORMAT', 1, /\.yaml, \.yml/);
});

test('revisions that share the traffic are asked for as they stand, with what the workload says of them all', async (scene) => {
  const node = await scene.node();
  const text = `
workloads:
  - name: new
    memory: 96MiB
    env: { MODE: test }
    min: 1
    revisions:
      - traffic: 90
        image: ${DIGEST}
      - traffic: 10
        image: ${DIGEST}
        memory: 128MiB
        env: { MORE: logs }
`;
  const result = await skerry(['apply', '-f', scene.file('split.yaml', text)], { data: node.data });
  assert.is(result.stderr, '');
  assert.equal(plans(node)[1]!.workloads, [
    {
      name: 'new',
      settings: { memory: '96MiB', env: { MODE: 'test' }, min: 1 },
      revisions: [revision(DIGEST, 90), revision(DIGEST, 10, { memory: '128MiB', env: { MORE: 'logs' } })],
    },
  ]);
});

test('what the node refuses changes nothing', async (scene) => {
  const node = await scene.node({
    ...planning,
    'POST /v1/apply': (_request, response) => problem(response, 409, 'ROUTE_CLASH', 'the route /x belongs to y'),
  });
  const path = scene.file('a.yaml', `workloads: [{ name: new, image: "${DIGEST}" }]`);
  assertFailure(await skerry(['apply', '-f', path], { data: node.data }), 'ROUTE_CLASH', 1, /belongs to y/);
  assert.equal(
    plans(node).map((plan) => plan.dryRun),
    [true],
  );
});

test('a workload that does not get ready makes apply fail', async (scene) => {
  const failed = { observedGeneration: 1, phase: 'failed', message: 'it traps', traffic: [] };
  const node = await scene.node({
    ...planning,
    'GET /v1/workloads/new/settled': () => ({ ...workloadOf('new'), status: failed }),
  });
  const path = scene.file('a.yaml', `workloads: [{ name: new, image: "${DIGEST}" }]`);
  assertFailure(await skerry(['apply', '-f', path], { data: node.data }), 'NOT_READY', 1, /new is not ready: it traps/);
});

test('export writes YAML that says the same again', async (scene) => {
  const workloads = [
    { name: 'a', image: DIGEST, memory: '64MiB', env: { N: '1', Y: 'yes', T: 'a: b # c\nd' }, routes: ['/x/*'] },
  ];
  const node = await scene.node({ ...planning, 'GET /v1/export': () => ({ workloads }) });
  const exported = await skerry(['export', 'a'], { data: node.data });
  assert.match(exported.stdout, /^workloads:\n {2}- name: a\n/);
  assert.equal(
    node.requests.map((request) => request.url),
    ['/v1/export?name=a'],
  );
  const path = scene.file('again.yaml', exported.stdout);
  await skerry(['apply', '-f', path, '--dry-run'], { data: node.data });
  const { name: _name, image: _image, ...settings } = workloads[0]!;
  assert.equal(plans(node)[0]!.workloads[0]!.settings, settings);
});

test.run();
