import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assertFailure, collect, type Result, skerry, spawnSkerry } from '../support/cli.ts';
import { type FakeNode, type Handler, problem, startFakeNode, workloadOf } from '../support/fake-node.ts';

interface Watching {
  /** Resolves once this much was printed, on stdout or stderr. */
  seen(pattern: RegExp): Promise<void>;
  /** Ctrl-C. */
  interrupt(): void;
  readonly ended: Promise<Result>;
}

interface Scene {
  folder: string;
  node: FakeNode;
  /** Bundles that were built, in their order. */
  built: string[];
  write(name: string, text: string): string;
  watch(path: string, ...flags: string[]): Watching;
  running: Watching[];
}

const test = suite<Scene>('watch');

const hex = (text: string | Buffer) => createHash('sha256').update(text).digest('hex');

/** A node whose revisions are named by what was uploaded. */
function handlers(built: string[]): Record<string, Handler> {
  let current = workloadOf('app');
  return {
    'POST /v1/artifacts': (request) => {
      if (request.headers['content-type'] === 'text/javascript') built.push(request.body.toString());
      return { digest: `sha256:${hex(request.body)}`, size: request.body.length };
    },
    'POST /v1/builds': (request, response) => {
      const digest = JSON.parse(request.body.toString()).source;
      const artifact = { digest, mediaType: 'application/wasm' };
      response.end(`${JSON.stringify({ event: 'done', artifact, size: 1, cached: false, ms: 1 })}\n`);
    },
    'PUT /v1/workloads/app': (request) => {
      const revision = JSON.parse(request.body.toString()).artifact.digest.slice(7, 19);
      const traffic = [{ revision, percent: 100 }];
      current = workloadOf('app', { spec: { ...current.spec, traffic }, status: { ...current.status, traffic } });
      return current;
    },
    'GET /v1/workloads/app/settled': () => current,
  };
}

test.before.each(async (scene) => {
  scene.folder = mkdtempSync(join(tmpdir(), 'skerry-watch-'));
  scene.built = [];
  scene.running = [];
  scene.node = await startFakeNode(handlers(scene.built));
  scene.write = (name, text) => {
    const path = join(scene.folder, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
    return path;
  };
  scene.watch = (path, ...flags) => {
    const interrupt = new AbortController();
    let soFar = '';
    let check = () => {};
    const ended = skerry(['deploy', path, '--name', 'app', '--watch', ...flags], {
      data: scene.node.data,
      interrupt: interrupt.signal,
      onOutput: ({ stdout, stderr }) => {
        soFar = stdout + stderr;
        check();
      },
    });
    const watching: Watching = {
      seen: (pattern) =>
        new Promise<void>((done, fail) => {
          check = () => pattern.test(soFar) && done();
          check();
          ended.then((result) => fail(new Error(`ended without ${pattern}: ${JSON.stringify(result)}`)));
        }),
      interrupt: () => interrupt.abort(),
      ended,
    };
    scene.running.push(watching);
    return watching;
  };
});
test.after.each(async ({ folder, node, running }) => {
  for (const { interrupt, ended } of running) {
    interrupt();
    await ended;
  }
  await node.close();
  rmSync(folder, { recursive: true, force: true });
});

const handler = (text: string) => `export default { fetch: () => new Response(${JSON.stringify(text)}) };\n`;
const times = (n: number) => new RegExp(`(app revision [0-9a-f]{12} ready.*){${n}}`, 's');

test('deploys, and again when the file is saved; Ctrl-C ends it and leaves the workload', async (scene) => {
  const path = scene.write('app.ts', handler('one'));
  const watching = scene.watch(path);
  await watching.seen(/Watching for changes/);
  scene.write('app.ts', handler('two'));
  await watching.seen(times(2));
  // As editors do it: a new file in the place of the old one.
  renameSync(scene.write('app.ts.tmp', handler('three')), path);
  await watching.seen(times(3));
  watching.interrupt();
  const { status, stdout, stderr } = await watching.ended;
  assert.is(status, 0);
  assert.is(stderr, '');
  assert.match(stdout, /^\d\d:\d\d:\d\d app revision [0-9a-f]{12} ready \(\d+\.\d s\)\n {2}http:/);
  assert.equal(
    scene.built.map((bundle) => /"(\w+)"/.exec(bundle)?.[1]),
    ['one', 'two', 'three'],
  );
  assert.not.ok(scene.node.requests.some((request) => request.method === 'DELETE'));
});

test('a save of an imported file, in another folder too, is a save', async (scene) => {
  scene.write('lib/text.ts', 'export const text = "one";\n');
  const path = scene.write('app.ts', `import { text } from './lib/text';\n${handler('x').replace('"x"', 'text')}`);
  const watching = scene.watch(path);
  await watching.seen(/Watching/);
  scene.write('lib/text.ts', 'export const text = "two";\n');
  await watching.seen(times(2));
  assert.match(scene.built[1]!, /"two"/);
});

test('a save of skerry.toml is a save', async (scene) => {
  scene.write('skerry.toml', 'memory = "64MiB"\n');
  scene.write('index.ts', handler('one'));
  const watching = scene.watch(scene.folder);
  await watching.seen(/Watching/);
  scene.write('skerry.toml', 'memory = "96MiB"\n');
  await watching.seen(/unchanged|app revision.*app revision/s);
  const sent = scene.node.of('PUT /v1/workloads/app').map((one) => JSON.parse(one.body.toString()).settings.memory);
  assert.equal(sent, ['64MiB', '96MiB']);
});

test('a failing build is shown, the old revision keeps serving, and the next save mends it', async (scene) => {
  const path = scene.write('app.ts', handler('one'));
  const watching = scene.watch(path);
  await watching.seen(/Watching/);
  scene.write('app.ts', 'export default {\n  fetch( {\n');
  await watching.seen(/failed .*app\.ts:\d+:\d+: /);
  assert.is(scene.node.of('PUT /v1/workloads/app').length, 1);
  scene.write('app.ts', handler('two'));
  await watching.seen(times(2));
});

test('a file that was missing is seen when it is made', async (scene) => {
  const path = scene.write('app.ts', `import { text } from './text';\n${handler('x').replace('"x"', 'text')}`);
  const watching = scene.watch(path);
  await watching.seen(/failed .*text/);
  scene.write('text.ts', 'export const text = "here";\n');
  await watching.seen(times(1));
});

test('never two deploys at once: saves during a build give one more', async (scene) => {
  let open = 0;
  let most = 0;
  const release: (() => void)[] = [];
  const kinds = handlers(scene.built);
  const build = kinds['POST /v1/builds']!;
  await scene.node.close();
  scene.node = await startFakeNode({
    ...kinds,
    'POST /v1/builds': (request, response) => {
      most = Math.max(most, ++open);
      const go = () => {
        open--;
        build(request, response);
      };
      if (release.length === 0) release.push(go);
      else go();
    },
  });
  const path = scene.write('app.ts', handler('one'));
  const watching = scene.watch(path);
  await scene.node.seen('POST /v1/builds');
  for (const text of ['two', 'three', 'four']) scene.write('app.ts', handler(text));
  release[0]!();
  await watching.seen(times(2));
  watching.interrupt();
  await watching.ended;
  assert.is(most, 1);
  assert.equal(
    scene.built.map((bundle) => /"(\w+)"/.exec(bundle)?.[1]),
    ['one', 'four'],
  );
});

test('what no save can mend ends it at once', async ({ folder, node, write }) => {
  const options = { data: node.data };
  const gone = await skerry(['deploy', join(folder, 'gone.ts'), '--watch'], options);
  assertFailure(gone, 'NO_SUCH_SOURCE', 1, /gone\.ts/);
  const path = write('app.ts', handler('one'));
  assertFailure(await skerry(['deploy', path, '--watch', '--cpus', 'x'], options), 'BAD_FLAG', 2, /--cpus/);
  assertFailure(await skerry(['deploy', path, '--watch', '--json'], options), 'USAGE', 2, /--json and --watch/);
  const nobody = await skerry(['deploy', path, '--watch'], { data: folder });
  assertFailure(nobody, 'NODE_NOT_RUNNING', 1, /skerry up/);
});

test('a refusal of the node is shown and watching goes on', async (scene) => {
  await scene.node.close();
  scene.node = await startFakeNode({
    ...handlers(scene.built),
    'PUT /v1/workloads/app': (_request, response) => problem(response, 400, 'NO_HTTP_HANDLER', 'it exports none'),
  });
  const watching = scene.watch(scene.write('app.ts', handler('one')));
  await watching.seen(/failed it exports none; try another \[NO_HTTP_HANDLER\]/);
  await watching.seen(/Watching/);
});

test('Ctrl-C ends the process in the middle of a build, too', async (scene) => {
  await scene.node.close();
  scene.node = await startFakeNode({
    ...handlers(scene.built),
    'POST /v1/builds': (_request, response) => void response.write('{"event":"progress","step":"long"}\n'),
  });
  const path = scene.write('app.ts', handler('one'));
  const child = spawnSkerry(['deploy', path, '--watch', '--data', scene.node.data]);
  const ended = collect(child);
  await scene.node.seen('POST /v1/builds');
  child.kill('SIGINT');
  const { status, signal } = await ended;
  assert.is(signal, null);
  assert.is(status, 0);
});

test.run();
