/** The command line and a real node, as a user has them: `bin/skerry.js` for both. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import type { WorkloadView } from '../../gateway/admin/schemas.ts';
import { assertFailure, collect } from '../support/cli.ts';
import { guest } from '../support/guests.ts';
import { takeBuilder } from '../support/javascript.ts';

const bin = join(projectRoot, 'bin/skerry.js');

interface Scene {
  folder: string;
  data: string;
  gateway: string;
  node: ChildProcess;
  log: () => string;
}

const test = suite<Scene>('a real node');

function start(args: readonly string[], data: string): ChildProcess {
  return spawn(process.execPath, [bin, ...args], {
    env: { ...process.env, NODE_OPTIONS: '', SKERRY_DATA: data, SKERRY_ADMIN_TOKEN: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Runs one command line against the node. */
function run({ data }: Scene, ...args: string[]) {
  return collect(start(args, data));
}

async function succeed(scene: Scene, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(scene, ...args);
  assert.is(status, 0, `skerry ${args.join(' ')}: ${stderr}\n${scene.log()}`);
  return stdout;
}

async function view(scene: Scene, name: string): Promise<WorkloadView> {
  return JSON.parse(await succeed(scene, 'inspect', name, '--json'));
}

function write({ folder }: Scene, name: string, text: string | Buffer): string {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const saying = (text: string) => `
export default {
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === '/fail') throw new Error('on purpose');
    if (url.pathname === '/teapot') return new Response('short and stout', { status: 418 });
    console.log('asked for ' + url.pathname);
    const body = await request.text();
    return new Response(${JSON.stringify(text)} + ' ' + request.method + ' ' + url.pathname + url.search + ' ' + body + '\\n');
  },
};
`;

test.before(async (scene) => {
  execFileSync(process.execPath, [join(projectRoot, 'scripts/build-ts.mjs')]);
  scene.folder = mkdtempSync(join(tmpdir(), 'skerry-node-'));
  scene.data = join(scene.folder, 'data');
  takeBuilder(scene.data);
  const env = { ...process.env, NODE_OPTIONS: '', SKERRY_ADMIN_TOKEN: 'a-token-of-enough-length' };
  const args = ['up', '--data', scene.data, '--listen', '127.0.0.1:0', '--registry', 'off'];
  scene.node = spawn(process.execPath, [bin, ...args], { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let log = '';
  scene.log = () => log;
  for (const output of [scene.node.stdout!, scene.node.stderr!]) {
    output.on('data', (text) => {
      log += text;
    });
  }
  const [message] = (await Promise.race([
    once(scene.node, 'message'),
    once(scene.node, 'exit').then(() => Promise.reject(new Error(`the node did not start: ${log}`))),
  ])) as [{ gateway: string }];
  scene.gateway = message.gateway;
});
test.after(async ({ node, folder }) => {
  if (node.exitCode === null) {
    node.kill('SIGTERM');
    await once(node, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

test('a TypeScript file becomes a URL that answers, and shows up everywhere', async (scene) => {
  const printed = await succeed(scene, 'deploy', write(scene, 'hello.ts', saying('one')));
  const [, revision, url] = /^hello revision ([0-9a-f]{12}) is (?:ready|idle)\n {2}(http:\S+)/.exec(printed) ?? [];
  assert.ok(url, printed);
  assert.is(await (await fetch(`${url}/a?b=c`)).text(), 'one GET /a?b=c \n');
  assert.match(await succeed(scene, 'ls'), new RegExp(`^hello +\\w+ +${revision} +1 +wasm +${url}$`, 'm'));
  assert.match(
    await succeed(scene, 'inspect', 'hello'),
    new RegExp(`^traffic +${revision} 100% +${revision} 100%$`, 'm'),
  );
  assert.match(
    await succeed(scene, 'revisions', 'hello'),
    new RegExp(`^${revision} +\\S+ \\S+ +100% +\\w+ +.*hello\\.ts$`, 'm'),
  );
  assert.match(await succeed(scene, 'logs', 'hello'), /^\S+Z \S+ out {2}asked for \/a$/m);
  assert.match(await succeed(scene, 'complete-names'), /^hello$/m);
});

test('invoke reaches the function with path, query, method and body, and tells its failures', async (scene) => {
  assert.is(await succeed(scene, 'invoke', 'hello', '/x%20y?q=1'), 'one GET /x%20y?q=1 \n');
  assert.is(await succeed(scene, 'invoke', 'hello', '-d', 'body'), 'one POST / body\n');
  const teapot = await run(scene, 'invoke', 'hello', '/teapot', '-i');
  assertFailure(teapot, 'ANSWERED', 22, /hello answered 418/);
  assert.match(teapot.stdout, /^HTTP\/1\.1 418 .*\r\n\r\nshort and stout$/s);
  const failed = await run(scene, 'invoke', 'hello', '/fail');
  assert.is(failed.status, 22);
  assert.match(failed.stderr, /^[^\n]+\[[A-Z_]+\]\n$/);
});

test('revisions: a second deploy, a split by their first digits, a rollback', async (scene) => {
  await succeed(scene, 'deploy', write(scene, 'hello.ts', saying('two')));
  assert.is(await succeed(scene, 'invoke', 'hello'), 'two GET / \n');
  const [second, first] = (await view(scene, 'hello')).revisions.map((revision) => revision.id);
  await succeed(scene, 'traffic', 'hello', `${first!.slice(0, 6)}=100`, `${second!.slice(0, 6)}=0`);
  assert.is(await succeed(scene, 'invoke', 'hello'), 'one GET / \n');
  await succeed(scene, 'traffic', 'hello', `${first}=50`, `${second}=50`);
  assert.equal(
    (await view(scene, 'hello')).status.traffic.map((share) => share.percent),
    [50, 50],
  );
  await succeed(scene, 'rollback', 'hello', second!.slice(0, 6));
  assert.is(await succeed(scene, 'invoke', 'hello'), 'two GET / \n');
});

test('export, remove and apply: everything is back, and a second apply finds nothing to do', async (scene) => {
  await succeed(scene, 'deploy', write(scene, 'hello.ts', saying('two')), '--memory', '96MiB', '--env', 'MODE=a: b');
  const exported = await succeed(scene, 'export');
  const file = write(scene, 'exported.yaml', exported);
  assert.match(await succeed(scene, 'apply', '-f', file), /^= unchanged hello\nApplied: 0 created, 0 updated, 1 unch/);
  assert.is(await succeed(scene, 'rm', 'hello'), 'hello is removed\n');
  assertFailure(await run(scene, 'inspect', 'hello'), 'NO_WORKLOAD', 1, /there is no workload hello/);
  assert.match(await succeed(scene, 'apply', '-f', file), /^\+ create {4}hello\n.*Applied: 1 created/s);
  assert.is(await succeed(scene, 'invoke', 'hello'), 'two GET / \n');
  assert.is(await succeed(scene, 'export'), exported);
  const changed = write(scene, 'changed.yaml', exported.replace('96MiB', '112MiB'));
  assert.match(
    await succeed(scene, 'apply', '-f', changed, '--dry-run'),
    /~ update {4}hello\n {4}memory: 96MiB -> 112MiB\n/,
  );
  assert.match(await succeed(scene, 'apply', '-f', file), /unchanged hello/);
});

test('an export holds a split whole: apply finds nothing to do, and brings it back after a removal', async (scene) => {
  const component = await guest('behaviours');
  const deploy = (...flags: string[]) => succeed(scene, 'deploy', component, '--name', 'canary', ...flags);
  const settings = ['--route', '/birds/*', '--queue', '7', '--min', '1', '--max', '3', '--idle', '90s', '--reuse', '2'];
  await deploy(...settings, '--env', 'WHICH=old', '--cpus', '0.25');
  await deploy(...settings, '--env', 'WHICH=unused');
  await deploy(...settings, '--memory', '48MiB');
  const kept = (await view(scene, 'canary')).revisions.map((revision) => revision.id);
  const [latest, , oldest] = kept;
  await succeed(scene, 'traffic', 'canary', `${latest}=10`, `${oldest}=90`);
  const exported = await succeed(scene, 'export');
  assert.match(exported, /^ {4}timeout: 10s\n/m, 'what both say alike stands once');
  assert.match(exported, /^ {6}- traffic: 90\n {8}image: sha256:\w+\n {8}memory: 64MiB\n {8}cpus: 0\.25\n/m);
  const file = write(scene, 'split.yaml', exported);
  assert.match(await succeed(scene, 'apply', '-f', file), /^= unchanged canary\n= unchanged hello\nApplied: 0 cr/);
  assert.equal(
    (await view(scene, 'canary')).revisions.map(({ id }) => id),
    kept,
    'the history stays as it is',
  );
  const before = await view(scene, 'canary');
  await succeed(scene, 'rm', 'canary');
  assert.match(await succeed(scene, 'apply', '-f', file), /^\+ create {4}canary\n/);
  const after = await view(scene, 'canary');
  const sorted = ({ spec }: WorkloadView) => [...spec.traffic].sort((a, b) => a.percent - b.percent);
  assert.equal(sorted(after), sorted(before));
  assert.equal({ ...after.spec, traffic: [] }, { ...before.spec, traffic: [] });
  assert.equal(
    after.revisions.map(({ id, percent }) => [id, percent]),
    [
      [latest, 10],
      [oldest, 90],
    ],
  );
  assert.is(await succeed(scene, 'export'), exported);
  const json = write(scene, 'split.json', await succeed(scene, 'export', 'canary', '--json'));
  assert.match(await succeed(scene, 'apply', '-f', json), /^= unchanged canary\n/);
  const wrong = write(scene, 'wrong.yaml', exported.replace('traffic: 10', 'traffic: 20'));
  assertFailure(
    await run(scene, 'apply', '-f', wrong),
    'SETTING',
    1,
    /wrong\.yaml:\d+:\d+: workloads\[0\]\.revisions: must/,
  );
  await succeed(scene, 'rm', 'canary');
});

test('a stack in the log names the file, line and column that were written, also when only those have moved', async (scene) => {
  const lib = (head: string) =>
    `${head}type Name = string;\nexport const fail = (name: Name): never => {\n  throw new Error(name);\n};\n`;
  write(scene, 'stack/lib/fail.ts', lib(''));
  const main = write(
    scene,
    'stack/index.ts',
    "import { fail } from './lib/fail.ts';\nexport default { fetch(): Response {\n  return fail('on purpose');\n} };\n",
  );
  const deploy = async () => JSON.parse(await succeed(scene, 'deploy', main, '--json')) as WorkloadView;
  const before = await deploy();
  const stack = async () => {
    await run(scene, 'invoke', 'stack');
    const lines = (await succeed(scene, 'logs', 'stack', '--tail', '20')).split('\n');
    const at = lines.findLastIndex((line) => line.includes('Uncaught Error: on purpose'));
    return lines.slice(at + 1, at + 3).map((line) => line.replace(/^.* err {2}/, ''));
  };
  assert.equal(await stack(), ['fail@lib/fail.ts:3:9', 'fetch@index.ts:3:10']);
  write(scene, 'stack/lib/fail.ts', lib('// A comment,\n// and another one.\n'));
  assert.is((await deploy()).generation, before.generation, 'the same bundle is the same revision');
  assert.equal(await stack(), ['fail@lib/fail.ts:5:9', 'fetch@index.ts:3:10']);
  await succeed(scene, 'rm', 'stack');
});

test('scaled to nothing it is parked, and says so; scaled up it answers', async (scene) => {
  assert.match(await succeed(scene, 'scale', 'hello', '--max', '0'), /^hello is parked/);
  assertFailure(await run(scene, 'invoke', 'hello'), 'PARKED', 22, /skerry scale/);
  await succeed(scene, 'scale', 'hello', '--max', '3');
  assert.is(await succeed(scene, 'invoke', 'hello'), 'two GET / \n');
  assertFailure(await run(scene, 'scale', 'hello', '--min', '5'), 'SCALE_ORDER', 1, /min 5 is above max 3/);
});

test('what cannot run is refused with its own code, and nothing of it is deployed', async (scene) => {
  const text = write(scene, 'text.wasm', 'this is no wasm');
  assertFailure(await run(scene, 'deploy', text), 'NOT_WASM', 1, /text\.wasm/);
  const core = write(scene, 'core.wasm', readFileSync(await guest('core-module')));
  assertFailure(await run(scene, 'deploy', core), 'CORE_MODULE', 1, /core\.wasm/);
  const cut = write(scene, 'cut.wasm', readFileSync(await guest('no-handler')));
  truncateSync(cut, 40);
  assertFailure(await run(scene, 'deploy', cut), 'COMPONENT_INVALID', 1, /cut\.wasm/);
  assertFailure(
    await run(scene, 'deploy', await guest('no-handler'), '--name', 'none'),
    'NO_HTTP_HANDLER',
    1,
    /no HTTP/,
  );
  const foreign = await run(scene, 'deploy', await guest('foreign-import'), '--name', 'foreign');
  assertFailure(foreign, 'IMPORT_NOT_OFFERED', 1, /imports/);
  const names = JSON.parse(await succeed(scene, 'ls', '--json')).workloads.map((one: WorkloadView) => one.name);
  assert.equal(names, ['hello']);
});

test('a syntax error names file, line and column', async (scene) => {
  const path = write(scene, 'broken.ts', 'export default {\n  fetch( { return new Response("x") }\n};\n');
  const { status, stderr } = await run(scene, 'deploy', path);
  assert.is(status, 1);
  assert.match(stderr, /^\S*broken\.ts:2:\d+: [^\n]+\n$/);
});

test('routes that clash name who has them', async (scene) => {
  const args = ['deploy', write(scene, 'hello.ts', saying('two'))];
  await succeed(scene, ...args, '--name', 'first', '--route', '/shared/*');
  const clash = await run(scene, ...args, '--name', 'second', '--route', '/shared/*');
  assertFailure(clash, 'ROUTE_CLASH', 1, /\/shared\/\* belongs to first/);
  assert.is(await (await fetch(`${scene.gateway}/shared/x`)).text(), 'two GET /shared/x \n');
  await succeed(scene, 'rm', 'first');
});

test("a route within another workload's default route is deployed with a warning, and both say so", async (scene) => {
  const component = await guest('behaviours');
  const warning =
    /^ {2}warning: its route \/hello\/hello takes requests from hello, which has \/hello\/\* by default$/m;
  const args = ['deploy', component, '--name', 'cuckoo', '--route', '/hello/hello'];
  assert.match(await succeed(scene, ...args), warning);
  assert.is(await (await fetch(`${scene.gateway}/hello/hello`)).text(), 'hello', 'the most specific route wins');
  assert.match(await succeed(scene, 'inspect', 'cuckoo'), /^warning: its route \/hello\/hello takes/m);
  assert.match(
    await succeed(scene, 'inspect', 'hello'),
    /^warning: the route \/hello\/hello of cuckoo takes requests/m,
  );
  assert.is((await view(scene, 'hello')).warnings.length, 1);
  const file = write(scene, 'warned.yaml', await succeed(scene, 'export', 'cuckoo'));
  assert.match(await succeed(scene, 'apply', '-f', file), /unchanged cuckoo\n {4}warning: its route/);
  assert.is(JSON.parse(await succeed(scene, 'apply', '-f', file, '--json')).changes[0].warnings.length, 1);
  await succeed(scene, 'rm', 'cuckoo');
  assert.equal((await view(scene, 'hello')).warnings, []);
});

test('deploy --watch: a save changes what the URL answers, Ctrl-C leaves it deployed', async (scene) => {
  const path = write(scene, 'live.ts', saying('before'));
  const child = start(['deploy', path, '--watch'], scene.data);
  const ended = collect(child);
  let printed = '';
  const until = (pattern: RegExp) =>
    new Promise<void>((done) => {
      child.stdout!.on('data', (text) => {
        printed += text;
        if (pattern.test(printed)) done();
      });
    });
  await until(/Watching for changes/);
  assert.is(await (await fetch(`${scene.gateway}/live`)).text(), 'before GET / \n');
  printed = '';
  writeFileSync(path, saying('after'));
  await until(/live revision [0-9a-f]{12} (ready|idle)/);
  assert.is(await (await fetch(`${scene.gateway}/live`)).text(), 'after GET / \n');
  child.kill('SIGINT');
  const { status, signal, stderr } = await ended;
  assert.is(signal, null);
  assert.is(status, 0);
  assert.not.match(stderr, /failed/);
  assert.is(await (await fetch(`${scene.gateway}/live`)).text(), 'after GET / \n');
  await succeed(scene, 'rm', 'live');
});

test('logs -f shows a line when it is written', async (scene) => {
  const child = start(['logs', 'hello', '-f', '--tail', '0'], scene.data);
  const ended = collect(child);
  const line = once(child.stdout!, 'data');
  // The follower is there once a line of a request made after it comes out; the requests go on until then.
  let seen = false;
  line.then(() => {
    seen = true;
  });
  while (!seen) await (await fetch(`${scene.gateway}/hello/followed`)).text();
  child.kill('SIGINT');
  const { status, stdout } = await ended;
  assert.is(status, 0);
  assert.match(stdout, /out {2}asked for \/followed\n/);
});

test('doctor reports on the machine', async (scene) => {
  const report = JSON.parse(await succeed(scene, 'doctor', '--json'));
  assert.is(report.healthy, true);
  assert.ok(
    report.probes.some((probe: { part: string; available: boolean }) => probe.part === 'wasm' && probe.available),
  );
  assert.match(await succeed(scene, 'doctor'), /^wasm: available/m);
});

test('once the node has stopped, the command line says how to start it', async (scene) => {
  scene.node.kill('SIGTERM');
  const [code] = await once(scene.node, 'exit');
  assert.is(code, 0, scene.log());
  assertFailure(await run(scene, 'ls'), 'NODE_NOT_RUNNING', 1, /skerry up/);
  const doctor = await succeed(scene, 'doctor');
  assert.match(doctor, /^node +none is running at /);
  assert.match(doctor, /^data folder: available, .*\n {2}writable$/m);
});

test.run();
