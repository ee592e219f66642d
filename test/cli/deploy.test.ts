import { appendFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { DeployRequest } from '../../gateway/admin/schemas.ts';
import { assertFailure, skerry } from '../support/cli.ts';
import {
  DIGEST,
  deployable,
  type Handler,
  problem,
  problemOf,
  startFakeNode,
  workloadOf,
} from '../support/fake-node.ts';

interface Scene {
  folder: string;
  /** Writes a file below the folder and gives its path. */
  file(name: string, text?: string | Buffer): string;
  node(handlers: Record<string, Handler>): ReturnType<typeof startFakeNode>;
  closing: (() => unknown)[];
}

const test = suite<Scene>('deploy');

test.before.each((scene) => {
  scene.folder = mkdtempSync(join(tmpdir(), 'skerry-deploy-'));
  scene.closing = [];
  scene.file = (name, text = '\0asm') => {
    const path = join(scene.folder, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
    return path;
  };
  scene.node = async (handlers) => {
    const node = await startFakeNode(handlers);
    scene.closing.push(() => node.close());
    return node;
  };
});
test.after.each(async ({ folder, closing }) => {
  for (const close of closing) await close();
  rmSync(folder, { recursive: true, force: true });
});

function requestOf(node: Awaited<ReturnType<typeof startFakeNode>>, name: string): DeployRequest {
  return JSON.parse(node.of(`PUT /v1/workloads/${name}`)[0]!.body.toString());
}

test('a component is uploaded as it is, deployed under the name of its file, and its URL printed', async (scene) => {
  const bytes = Buffer.alloc(700_000, 'component');
  const path = scene.file('My_Api v2.wasm', bytes);
  const node = await scene.node(deployable('my-api-v2'));
  const result = await skerry(['deploy', path], { data: node.data });
  assert.equal(result, {
    status: 0,
    stdout: 'my-api-v2 revision aaaa00000001 is ready\n  http://127.0.0.1:8080/my-api-v2\n',
    stderr: '',
  });
  const upload = node.of('POST /v1/artifacts')[0]!;
  assert.is(upload.headers['content-type'], 'application/wasm');
  assert.is(upload.headers['content-length'], '700000');
  assert.ok(upload.body.equals(bytes));
  assert.equal(requestOf(node, 'my-api-v2'), {
    artifact: { digest: DIGEST, mediaType: 'application/wasm' },
    label: path,
    settings: {},
  });
});

test('--json prints the workload as one document', async (scene) => {
  const node = await scene.node(deployable('x'));
  const { stdout } = await skerry(['deploy', scene.file('x.wasm'), '--json'], { data: node.data });
  assert.equal(JSON.parse(stdout), workloadOf('x'));
});

test('a TypeScript file is bundled, uploaded and built; what the build says is told', async (scene) => {
  const events = [
    { event: 'progress', step: 'making the component' },
    { event: 'done', artifact: { digest: DIGEST, mediaType: 'application/wasm' }, size: 9, cached: false, ms: 5 },
  ];
  const node = await scene.node({
    ...deployable('hello'),
    'POST /v1/builds': (_request, response) => void response.end(events.map((e) => `${JSON.stringify(e)}\n`).join('')),
  });
  const path = scene.file('hello.ts', 'export default { fetch: (): Response => new Response("hi there") };');
  const { status, stderr } = await skerry(['deploy', path], { data: node.data, tty: true });
  assert.is(status, 0);
  assert.match(stderr, /Bundling .*Uploading .*Building .*making the component.*Deploying hello/s);
  assert.ok(stderr.endsWith('\r\u001b[2K'), 'the progress line is taken away');
  const upload = node.of('POST /v1/artifacts')[0]!;
  assert.is(upload.headers['content-type'], 'text/javascript');
  assert.match(upload.body.toString(), /hi there/);
  assert.not.match(upload.body.toString(), /: Response =>/);
  const map = node.of('POST /v1/artifacts')[1]!;
  assert.is(map.headers['content-type'], 'application/json');
  assert.equal(JSON.parse(map.body.toString()).sources, ['hello.ts']);
  assert.equal(JSON.parse(node.of('POST /v1/builds')[0]!.body.toString()), {
    language: 'javascript',
    source: DIGEST,
    label: path,
    sourceMap: DIGEST,
  });
});

test('a build that fails on the node is one line with its code', async (scene) => {
  const node = await scene.node({
    ...deployable('hello'),
    'POST /v1/builds': (_request, response) => {
      const failed = { event: 'failed', problem: problemOf(400, 'BUILD_FAILED', 'it throws at its top level') };
      response.end(`${JSON.stringify(failed)}\n`);
    },
  });
  const path = scene.file('hello.ts', 'export default { fetch: () => new Response("hi") };');
  assertFailure(await skerry(['deploy', path], { data: node.data }), 'BUILD_FAILED', 1, /it throws at its top level/);
  assert.is(node.of('PUT /v1/workloads/hello').length, 0, 'nothing was deployed');
});

test('a build whose connection ends without a result did not succeed', async (scene) => {
  const node = await scene.node({
    ...deployable('hello'),
    'POST /v1/builds': (_request, response) => void response.end('{"event":"progress","step":"making"}\n'),
  });
  const path = scene.file('hello.ts', 'export default { fetch: () => new Response("hi") };');
  assertFailure(await skerry(['deploy', path], { data: node.data }), 'CONNECTION_LOST', 1, /broke during a build/);
});

test('a syntax error is told with file, line and column before anything is sent', async (scene) => {
  const node = await scene.node(deployable('broken'));
  const path = scene.file('broken.ts', 'export default {\n  fetch() { return new Response("x" }\n};\n');
  const result = await skerry(['deploy', path], { data: node.data });
  assert.is(result.status, 1);
  assert.ok(result.stderr.startsWith(`${path}:2:`), result.stderr);
  assert.match(result.stderr, /^[^\n]+\[[A-Z_]+\]\n$/);
  assert.is(node.requests.length, 0);
});

test('every flag becomes the setting of its name', async (scene) => {
  const node = await scene.node(deployable('x'));
  const flags =
    '--isolation wasm --memory 128MiB --cpus 0.25 --timeout 5s --start-timeout 2m --concurrency 8 --queue 0 ' +
    '--priority 9 --env A=1 --env B=x=y --env C= --secret K --secret L --allow example.com --allow [::1]:80 ' +
    '--keyvalue-quota 1MiB --route /api/* --route example.com/ --min 1 --max 4 --idle 90s --reuse 16';
  const result = await skerry(['deploy', scene.file('x.wasm'), ...flags.split(' ')], { data: node.data });
  assert.is(result.stderr, '');
  assert.equal(requestOf(node, 'x').settings, {
    isolation: 'wasm',
    memory: '128MiB',
    cpus: 0.25,
    timeout: '5s',
    'start-timeout': '2m',
    concurrency: 8,
    queue: 0,
    priority: 9,
    env: { A: '1', B: 'x=y', C: '' },
    secrets: ['K', 'L'],
    allow: ['example.com', '[::1]:80'],
    'keyvalue-quota': '1MiB',
    routes: ['/api/*', 'example.com/'],
    min: 1,
    max: 4,
    idle: '90s',
    reuse: 16,
  });
});

test('a flag out of range is named, with what it must be', async (scene) => {
  const path = scene.file('x.wasm');
  for (const [flags, pattern] of [
    [['--memory', '1KiB'], /^--memory: must be a size between 1MiB and 64GiB/],
    [['--memory', 'lots'], /^--memory: must be a size/],
    [['--cpus', '0'], /^--cpus: must be at least 0\.01/],
    [['--cpus', 'two'], /^--cpus: must be a number of cores/],
    [['--timeout', '5'], /^--timeout: must be a time between/],
    [['--concurrency', '1.5'], /^--concurrency: must be a whole number from 1 to 10000/],
    [['--priority', '10'], /^--priority: must be a whole number from 0 to 9/],
    [['--isolation', 'jail'], /^--isolation: must be auto, wasm, container or vm/],
    [['--env', 'NOVALUE'], /^--env: NOVALUE must be KEY=VALUE/],
    [['--env', '9A=1'], /^--env: 9A must be a name of letters/],
    [['--route', '/ok', '--route', 'no slash'], /^--route: no slash must be \[HOST\]\/PATH/],
    [['--name', 'Not_A_Label'], /^--name: must be a DNS label/],
    [['--name', 'a'.repeat(64)], /^--name: must be a DNS label/],
    [['--min', '-1'], /^--min: must be a whole number/],
  ] as const) {
    assertFailure(await skerry(['deploy', path, ...flags], { data: scene.folder }), 'BAD_FLAG', 2, pattern);
  }
});

test('a file named index takes the name of its folder, and a folder its own', async (scene) => {
  const node = await scene.node({ ...deployable('shop'), ...deployable('cart') });
  scene.file('shop/index.wasm');
  scene.file('cart/skerry.toml', 'main = "build/out.wasm"\n');
  scene.file('cart/build/out.wasm');
  await skerry(['deploy', join(scene.folder, 'shop/index.wasm')], { data: node.data });
  await skerry(['deploy', join(scene.folder, 'cart')], { data: node.data });
  assert.is(node.of('PUT /v1/workloads/shop').length, 1);
  assert.is(node.of('PUT /v1/workloads/cart').length, 1);
});

test('a file whose name gives no label needs --name', async (scene) => {
  const path = scene.file('___.wasm');
  assertFailure(await skerry(['deploy', path], { data: scene.folder }), 'NO_NAME', 1, /"___".*--name/);
});

test('skerry.toml says the settings, and flags go before it', async (scene) => {
  const node = await scene.node(deployable('api'));
  scene.file(
    'project/skerry.toml',
    'name = "api"\nmain = "a.wasm"\nmemory = "96MiB"\npriority = 3\nroutes = ["/x"]\n[env]\nA = "1"\nB = "2"\n',
  );
  scene.file('project/a.wasm');
  const args = ['deploy', join(scene.folder, 'project'), '--memory', '128MiB', '--env', 'B=3', '--env', 'C=4'];
  const result = await skerry(args, { data: node.data });
  assert.is(result.stderr, '');
  assert.equal(requestOf(node, 'api').settings, {
    memory: '128MiB',
    priority: 3,
    routes: ['/x'],
    env: { A: '1', B: '3', C: '4' },
  });
});

test('a fault of skerry.toml is told with file, line, column and key', async (scene) => {
  scene.file('p/a.wasm');
  for (const [text, at, pattern] of [
    ['name = "x"\nmemroy = "64MiB"\n', '2:1', /memroy: is no known setting; did you mean memory/],
    ['\n\nmemory = 64\n', '3:10', /memory: must be text in quotes/],
    ['cpus = 1\ncpus = 2\n', '2:1', /redefine/],
    ['name = \n', '1:8', /invalid value/],
    ['[env]\nGOOD = "1"\n"b c" = "2"\n', '3:1', /env\.b c: must be a name of letters/],
    ['routes = [\n  "/ok",\n  "bad",\n]\n', '3:3', /routes\[1\]: must be \[HOST\]\/PATH/],
    ['main = "gone.wasm"\n', '1:8', /main: there is no file gone\.wasm/],
    ['main = "a.py"\n', '1:8', /main: a\.py is neither/],
    ['timeout = "9 days"\n# comment\n', '1:11', /timeout: must be a time/],
    ["note = '''\nmemory = [\n'''\n", '1:1', /note: is no known setting/],
  ] as const) {
    const file = scene.file('p/skerry.toml', text);
    const result = await skerry(['deploy', join(scene.folder, 'p')], { data: scene.folder });
    assert.is(result.status, 1, result.stderr);
    assert.ok(result.stderr.startsWith(`${file}:${at}: `), `${at} in ${result.stderr}`);
    assert.match(result.stderr, pattern);
    assert.match(result.stderr, /^[^\n]+; [^\n]+\[(SETTING|SYNTAX)\]\n$/);
  }
});

test('a missing file, and what is no function, are told apart', async ({ folder, file }) => {
  const options = { data: folder };
  assertFailure(await skerry(['deploy', join(folder, 'gone.ts')], options), 'NO_SUCH_SOURCE', 1, /gone\.ts/);
  assertFailure(await skerry(['deploy', './gone'], options), 'NO_SUCH_SOURCE', 1, /\.\/gone/);
  assertFailure(await skerry(['deploy', file('notes.md')], options), 'NOT_A_SOURCE', 1, /notes\.md is neither/);
  file('empty/readme.md');
  assertFailure(await skerry(['deploy', join(folder, 'empty')], options), 'NO_MAIN', 1, /index\.ts, index\.js/);
});

test('an image that is not there, and what needs a node that does not run, are told', async ({ folder, file }) => {
  for (const image of ['oci:./layout', 'oci:./layout:tag', 'docker-archive:app.tar']) {
    assertFailure(await skerry(['deploy', image], { data: folder }), 'UNREADABLE', 1, /there is no such file/);
  }
  for (const image of ['registry.example/app:1', 'alpine']) {
    // The node would get it, and none runs.
    assertFailure(await skerry(['deploy', image], { data: folder }), 'NODE_NOT_RUNNING', 1, /no node/);
  }
  file('app/Dockerfile', 'FROM scratch');
  // The node would build it.
  assertFailure(await skerry(['deploy', join(folder, 'app')], { data: folder }), 'NODE_NOT_RUNNING', 1, /no node/);
});

test('a deploy that does not get ready fails, and says which revision still serves', async (scene) => {
  const failed = workloadOf('x', {
    generation: 2,
    status: {
      observedGeneration: 2,
      phase: 'failed',
      message: 'revision bbbb00000002 traps at its start',
      traffic: [{ revision: 'aaaa00000001', percent: 100 }],
    },
  });
  const node = await scene.node(deployable('x', failed));
  const result = await skerry(['deploy', scene.file('x.wasm')], { data: node.data });
  assertFailure(result, 'NOT_READY', 1, /x is not ready: .*traps at its start; aaaa00000001 still serves/);
  assert.is(result.stdout, '');
});

test('a deploy waits until the node has acted on its own generation', async (scene) => {
  const busy = workloadOf('x', { generation: 3 });
  const done = { ...busy, status: { ...busy.status, observedGeneration: 3 } };
  const answers = [busy, { ...done, status: { ...done.status, phase: 'progressing' as const } }, done];
  const node = await scene.node({
    ...deployable('x', busy),
    'GET /v1/workloads/x/settled': () => answers.shift(),
  });
  const { status } = await skerry(['deploy', scene.file('x.wasm')], { data: node.data });
  assert.is(status, 0);
  assert.is(node.of('GET /v1/workloads/x/settled').length, 3);
  assert.match(node.of('GET /v1/workloads/x/settled')[0]!.url, /\?generation=3&timeoutMs=\d+$/);
});

test('what the node refuses is told in its own words', async (scene) => {
  const node = await scene.node({
    ...deployable('x'),
    'PUT /v1/workloads/x': (_request, response) => problem(response, 400, 'NO_HTTP_HANDLER', 'x.wasm exports none'),
  });
  const result = await skerry(['deploy', scene.file('x.wasm')], { data: node.data });
  assertFailure(result, 'NO_HTTP_HANDLER', 1, /x\.wasm exports none; try another/);
});

test('an upload that the node refuses before it took it all is told in its own words', async (scene) => {
  const node = await scene.node({
    'EARLY POST /v1/artifacts': (_request, response) => problem(response, 413, 'TOO_LARGE', 'larger than 64MiB'),
  });
  const path = scene.file('big.wasm', Buffer.alloc(16 * 2 ** 20));
  assertFailure(await skerry(['deploy', path], { data: node.data }), 'TOO_LARGE', 1, /larger than 64MiB/);
});

test('a component that grows or shrinks while it is uploaded is not deployed', async (scene) => {
  for (const change of [(path: string) => appendFileSync(path, 'more'), (path: string) => truncateSync(path, 10)]) {
    const path = scene.file('x.wasm', Buffer.alloc(32 * 2 ** 20));
    const node = await scene.node({
      ...deployable('x'),
      // The file changes once its first piece has arrived; the rest stays in the file until it is read.
      'EARLY POST /v1/artifacts': (_request, response) => {
        response.req.once('data', () => {
          change(path);
          response.req.resume();
        });
      },
    });
    assertFailure(await skerry(['deploy', path], { data: node.data }), 'UPLOAD_CHANGED', 1, /changed while/);
    assert.is(node.of('PUT /v1/workloads/x').length, 0);
  }
});

test('an empty file is uploaded and left to the node to judge', async (scene) => {
  const node = await scene.node({
    'POST /v1/artifacts': (request) => ({ digest: DIGEST, size: request.body.length }),
    'PUT /v1/workloads/x': (_request, response) => problem(response, 400, 'NOT_WASM', 'x.wasm is not WebAssembly'),
  });
  assertFailure(await skerry(['deploy', scene.file('x.wasm', '')], { data: node.data }), 'NOT_WASM', 1, /not Web/);
});

test.run();
