import { spawn } from 'node:child_process';
import { once, setMaxListeners } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../errors/project-root.ts';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import {
  buildJavaScript,
  type JavaScriptBuildOptions,
  javaScriptBuildKey,
  prepareJavaScriptBuilder,
} from '../../../images/build/javascript/index.ts';
import { inspectComponent, unofferedImports } from '../../../images/wasm/component.ts';
import { OFFERED_IMPORTS } from '../../../runtime/drivers/wasm/offer.ts';
import { builderFolder as cacheFolder } from '../../support/javascript.ts';

const test = suite('building a component from JavaScript');

const hello = 'export default { fetch() { return new Response("hello") } }';

async function failure(source: string, options: JavaScriptBuildOptions = {}): Promise<SkerryError> {
  try {
    await buildJavaScript(source, { cacheFolder, ...options });
  } catch (error) {
    return error as SkerryError;
  }
  throw new Error('it was built');
}

/** Processes of this machine that have `text` among their arguments. */
async function processesWith(text: string): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => ''));
  return (await Promise.all(commands)).filter((command) => command.includes(text));
}

test.before(async () => {
  await prepareJavaScriptBuilder({ cacheFolder });
});

test('the component has an HTTP handler, imports only what is offered, and each step is told', async () => {
  const steps: string[] = [];
  const bytes = await buildJavaScript(hello, { cacheFolder, progress: (step) => steps.push(step) });
  const found = inspectComponent(bytes, 'hello');
  assert.ok(found.ok);
  if (!found.ok) return;
  assert.is(found.info.handler, 'p2');
  assert.equal(unofferedImports(found.info, OFFERED_IMPORTS), []);
  assert.ok(found.info.producers.some((tool) => tool.startsWith('ComponentizeJS')));
  assert.equal(steps, ['running its top level', 'making the component']);
});

test('every form of a handler is taken', async () => {
  const forms = [
    'export default { async fetch() { return new Response("x") } }',
    'export default class { static fetch() { return new Response("x") } }',
    'export default (request) => new Response("x")',
    'addEventListener("fetch", (event) => event.respondWith(new Response("x")))',
    'addEventListener("fetch", { handleEvent(event) { event.respondWith(new Response("x")) } })',
  ];
  for (const form of forms) {
    const found = inspectComponent(await buildJavaScript(form, { cacheFolder }), form);
    assert.is(found.ok && found.info.handler, 'p2', form);
  }
});

test('a top level may compute, print, and ask for the time and for numbers that are no secret', async () => {
  await buildJavaScript(
    'console.log("x"); console.error("y"); const kept = [Math.random(), Date.now(), performance.now(), new URL("http://a/b").host]; export default () => Response.json(kept)',
    { cacheFolder },
  );
});

test('a fault at the top level is told with its line and column', async () => {
  const cases: [string, RegExp][] = [
    ['export default {\n fetch( { return 1 } }', /^function\.js:2:18: SyntaxError: missing : after property id; /],
    ['function f() {\n  throw new TypeError("no good");\n}\nf();', /^function\.js:2:9: TypeError: no good; /],
    ['\nnull.x;', /^function\.js:2:\d+: TypeError: /],
    ['import { nope } from "wasi:cli/environment@0.2.10";\nnope();', /^function\.js:1:\d+: SyntaxError: .*nope/],
    [
      'const id = crypto.randomUUID();',
      /^function\.js:1:\d+: TypeError: .*randomUUID can only be used while a request/,
    ],
    ['const a = await fetch("http://x/");', /^function\.js:1:\d+: TypeError: fetch can only be used during request/],
    ['function f() { return f() + 1 }\nf();', /^function\.js:1:\d+: InternalError: too much recursion/],
    ['throw "just text";', /just text/],
    ['import "wasi:keyvalue/store@0.2.0";', /the import "wasi:keyvalue\/store@0\.2\.0" cannot be resolved/],
    ['import "./other.js";', /the import "\.\/other\.js" cannot be resolved/],
    ['await new Promise(() => {});', /waits \(`await`\) for something that never comes/],
    ['import { exit } from "wasi:cli/exit@0.2.10"; exit({ tag: "ok" });', /only works while a request is handled/],
  ];
  for (const [source, expected] of cases) {
    const error = await failure(source);
    assert.is(error.code, 'BUILD_FAILED', `${source}: ${error.message}`);
    assert.match(error.message, expected);
    assert.is(error.message.split('\n').length, 1);
    assert.is(error.status, 400);
  }
});

test('a source that serves nothing is refused by its name', async () => {
  for (const source of ['', 'export default { answer: 42 }', 'export const fetch = () => {}']) {
    const error = await failure(source, { label: 'shop.ts' });
    assert.is(error.code, 'BUILD_NO_HANDLER', source);
    assert.match(error.message, /^shop\.ts has no HTTP handler/);
  }
});

test('a fault that has no place in the source names the source', async () => {
  const { message } = await failure('throw "just text";', { label: 'shop.ts' });
  assert.match(message, /^shop\.ts: .*just text/);
});

test('a top level without end is ended by the time limit, and leaves nothing behind', async () => {
  const before = await readdir(cacheFolder);
  const error = await failure('while (true) {}', { timeLimitMs: 500, label: 'shop.ts' });
  assert.is(error.code, 'BUILD_TIMEOUT');
  assert.match(error.message, /^the top level of shop\.ts did not finish within 0\.5 s/);
  assert.is((await failure('for (;;) console.log("x".repeat(10000))', { timeLimitMs: 500 })).code, 'BUILD_TIMEOUT');
  assert.equal(await processesWith(join(cacheFolder, 'build-')), []);
  assert.equal(await readdir(cacheFolder), before);
});

test('a top level that takes memory without end is ended by the memory limit', async () => {
  const error = await failure('const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1));');
  assert.is(error.code, 'BUILD_MEMORY', error.message);
});

test('a top level that keeps too much makes no component', async () => {
  const error = await failure('globalThis.kept = new Uint8Array(80 << 20).fill(1); export default { fetch() {} }');
  assert.is(error.code, 'BUILD_TOO_LARGE', error.message);
});

test('nothing of the node gets into a component: no environment, no path', async () => {
  const secret = `needle-${Math.random()}`;
  process.env.SKERRY_TEST_SECRET = secret;
  try {
    const bytes = Buffer.from(await buildJavaScript(hello, { cacheFolder }));
    assert.is(bytes.indexOf(secret), -1);
    assert.is(bytes.indexOf(cacheFolder), -1);
    assert.is(bytes.indexOf(projectRoot), -1);
  } finally {
    delete process.env.SKERRY_TEST_SECRET;
  }
});

test('the same source gives the same component, whatever is drawn and whatever the time is', async () => {
  const source = `
    const drawn = Math.random(), at = new Date().toISOString(), map = new Map([[drawn, at]]);
    export default { fetch() { return Response.json([...map]) } }`;
  const first = await buildJavaScript(source, { cacheFolder });
  await delay(5);
  assert.ok(Buffer.from(await buildJavaScript(source, { cacheFolder })).equals(first));
});

test('builds run one at a time, in the order they came', async () => {
  const ends: string[] = [];
  const told: string[] = [];
  const build = (name: string) =>
    buildJavaScript(hello, { cacheFolder, progress: () => told.push(name) }).then(() => ends.push(name));
  await Promise.all([build('first'), build('second'), build('third')]);
  assert.equal(ends, ['first', 'second', 'third']);
  assert.equal(told, ['first', 'first', 'second', 'second', 'third', 'third']);
});

test('the node goes on while a build runs', async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 5);
  await buildJavaScript(hello, { cacheFolder });
  clearInterval(timer);
  assert.ok(turns > 3, `${turns} turns`);
});

test('a build is cancelled while it runs, and while it waits, without harm to the others', async () => {
  const running = new AbortController();
  const waiting = new AbortController();
  const endless = failure('while (true) {}', {
    signal: running.signal,
    progress(step) {
      if (step === 'running its top level') running.abort();
    },
  });
  const second = failure(hello, { signal: waiting.signal });
  const third = buildJavaScript(hello, { cacheFolder });
  waiting.abort();
  assert.is((await second).code, 'BUILD_CANCELLED');
  assert.is((await endless).code, 'BUILD_CANCELLED');
  assert.ok((await third).length > 0);
  assert.is((await failure(hello, { signal: AbortSignal.abort() })).code, 'BUILD_CANCELLED');
  assert.equal(await processesWith(join(cacheFolder, 'build-')), []);
});

test('more builds than can wait are refused at once', async () => {
  const stop = new AbortController();
  setMaxListeners(20, stop.signal);
  const taken = Array.from({ length: 17 }, () => failure('while (true) {}', { signal: stop.signal }));
  assert.is((await failure(hello)).code, 'BUILD_QUEUE_FULL');
  stop.abort();
  for (const each of taken) assert.is((await each).code, 'BUILD_CANCELLED');
  assert.ok(await buildJavaScript(hello, { cacheFolder }));
});

test('a build ends and leaves nothing behind when its node is killed', async () => {
  const script = `import { buildJavaScript } from './images/build/javascript/index.ts';
    await buildJavaScript('while (true) {}', { cacheFolder: ${JSON.stringify(cacheFolder)}, timeLimitMs: 60000, progress: (step) => console.log(step) });`;
  const node = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: projectRoot,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface(node.stdout)) if (line === 'running its top level') break;
  const running = join(cacheFolder, 'build-');
  while ((await processesWith(running)).length === 0) await delay(20);
  node.kill('SIGKILL');
  await once(node, 'close');
  while ((await processesWith(running)).length > 0) await delay(20);
  assert.equal(
    (await readdir(cacheFolder)).filter((name) => name.startsWith('build-')),
    [],
  );
});

test('a source and the toolchain make the key of a build', () => {
  assert.match(javaScriptBuildKey(hello), /^[0-9a-f]{64}$/);
  assert.is(javaScriptBuildKey(hello), javaScriptBuildKey(hello));
  assert.is.not(javaScriptBuildKey(hello), javaScriptBuildKey(`${hello} `));
});

test.run();
