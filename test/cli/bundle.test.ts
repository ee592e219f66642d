import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Bundle, bundleSource } from '../../cli/bundle.ts';
import { projectRoot } from '../../errors/project-root.ts';
import { SkerryError } from '../../errors/skerry-error.ts';
import { buildErrors } from '../../images/build/errors.ts';

const test = suite('bundling a source');

/** Where the user stands. */
let folder: string;

test.before.each(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'skerry-bundle-')));
});

test.after.each(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function files(contents: Record<string, string>, root = folder): Promise<void> {
  for (const [name, text] of Object.entries(contents)) {
    const path = join(root, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
}

function bundle(entry: string): Promise<Bundle> {
  return bundleSource(entry, folder);
}

async function failure(entry: string, current = folder): Promise<SkerryError> {
  try {
    await bundleSource(entry, current);
  } catch (error) {
    if (error instanceof SkerryError) return error;
    throw error;
  }
  throw new Error(`${entry} was bundled`);
}

/** Runs a bundle in this process: for bundles that import nothing. */
async function load(source: string): Promise<{ default: { fetch(): unknown } }> {
  return await import(`data:text/javascript,${encodeURIComponent(source)}`);
}

const handler = 'export default { fetch() { return message } };';

test('a TypeScript file becomes one module that holds all it imports', async () => {
  await files({
    'src/index.ts': `import { message } from './message.ts';\nimport half from 'half';\n${handler.replace('message', 'message + " " + half')}`,
    'src/message.ts': 'export const message: string = "hello" as const;',
    'node_modules/half/package.json': '{"name":"half","main":"main.js"}',
    'node_modules/half/main.js': 'module.exports = 42;',
  });
  const made = await bundle('src/index.ts');
  assert.is((await load(made.source)).default.fetch(), 'hello 42');
  assert.equal([...made.inputs].sort(), ['node_modules/half/main.js', 'src/index.ts', 'src/message.ts']);
});

test('a plain JavaScript file with a listener is taken too', async () => {
  await files({ 'a.js': 'addEventListener("fetch", (event) => event.respondWith(new Response("x")));' });
  assert.match((await bundle('a.js')).source, 'addEventListener');
});

test('a package is taken in its form for workers, not the one for Node.js', async () => {
  await files({
    'index.ts': `import message from 'forms';\n${handler}`,
    'node_modules/forms/package.json':
      '{"name":"forms","exports":{"workerd":"./worker.js","node":"./node.js","default":"./other.js"}}',
    'node_modules/forms/worker.js': 'export default "for workers";',
    'node_modules/forms/node.js': 'export default "for Node.js";',
    'node_modules/forms/other.js': 'export default "for others";',
  });
  assert.is((await load((await bundle('index.ts')).source)).default.fetch(), 'for workers');
});

test('a Hono app bundles', async () => {
  await files({
    'index.ts': `import { Hono } from '${join(projectRoot, 'node_modules/hono/dist/index.js')}';\nexport default new Hono().get('/', (c) => c.text('hi'));`,
  });
  const app = (await load((await bundle('index.ts')).source)).default as { fetch(request: Request): Response };
  assert.is(await (await app.fetch(new Request('http://x/'))).text(), 'hi');
});

test('a file that cannot be read is told as that, not as a fault of the source', async () => {
  await files({ 'imports.ts': `import './held.ts';\n${handler}`, 'held.ts': '' });
  // Root may read everything but what the system itself fails to give.
  const root = process.getuid?.() === 0;
  if (root) {
    await rm(join(folder, 'held.ts'));
    await symlink('/proc/self/mem', join(folder, 'held.ts'));
  } else {
    await chmod(join(folder, 'held.ts'), 0);
  }
  for (const entry of ['held.ts', 'imports.ts']) {
    const error = await failure(entry);
    assert.is(error.code, 'UNREADABLE', error.message);
    const expected = root
      ? /^\/proc\/\d+\/mem cannot be read: input\/output error$/
      : /^held\.ts cannot be read: permission denied$/;
    assert.match(error.what, expected);
    assert.match(error.fix, /permissions/);
  }
});

test('imports of WASI interfaces are left for the node to resolve', async () => {
  await files({
    'index.js': `import { getEnvironment } from 'wasi:cli/environment@0.2.10';\nexport default { fetch: getEnvironment };`,
  });
  assert.match((await bundle('index.js')).source, 'from "wasi:cli/environment@0.2.10"');
});

test('the same files in another place give the same bytes, with nothing of the machine in them', async () => {
  const contents = {
    'index.ts': `import { message } from './deep/message.ts';\nimport half from 'half';\nconsole.log(half);\n${handler}`,
    'deep/message.ts': 'export const message = "é";',
    'node_modules/half/package.json': '{"name":"half","main":"main.js"}',
    'node_modules/half/main.js': 'module.exports = 42;',
  };
  await files(contents);
  const here = await bundle('index.ts');
  const there = join(folder, 'some', 'where', 'else');
  await mkdir(there, { recursive: true });
  await files(contents, there);
  const other = await bundle('some/where/else/index.ts');
  assert.is(other.source, here.source);
  assert.not.match(here.source, folder);
  assert.not.match(here.source, 'sourceMappingURL');
  assert.is(other.map, here.map);
  assert.not.match(here.map, folder);
});

test('a syntax error is told with its file, line and column', async () => {
  await files({ 'src/index.ts': 'export default {\n  fetch() { const é = 1, x = ; }\n};\n' });
  const error = await failure('src/index.ts');
  assert.is(error.code, 'SOURCE_ERROR');
  assert.match(error.message, /^src\/index\.ts:2:30: Unexpected ";"/);
  assert.is(error.message.split('\n').length, 1);
});

test('a syntax error in an imported file names that file', async () => {
  await files({ 'src/index.ts': 'import "../lib/other.ts"; export default 1;', 'lib/other.ts': '\n\nlet 1;' });
  assert.match((await failure('src/index.ts')).message, /^lib\/other\.ts:3:5: /);
});

test('the file is named from where the user stands, however it was given', async () => {
  await files({ 'src/index.ts': 'export default {' });
  assert.match((await failure(join(folder, 'src/index.ts'))).message, /^src\/index\.ts:1:17: /);
  assert.match((await failure('./index.ts', join(folder, 'src'))).message, /^index\.ts:1:17: /);
});

test('a file outside of where the user stands is named by its whole path', async () => {
  await files({ 'src/index.ts': 'import "../lib/other.ts"; export default 1;', 'lib/other.ts': 'let 1;', 'a/b/x': '' });
  for (const [entry, current, file] of [
    ['index.ts', 'src', 'lib/other.ts'],
    ['../../src/index.ts', 'a/b', 'lib/other.ts'],
  ] as const) {
    const { message } = await failure(entry, join(folder, current));
    assert.ok(message.startsWith(`${join(folder, file)}:1:5: `), message);
  }
});

test('an import that is not there is told with its place and what to do', async () => {
  await files({
    'file.ts': 'import "./nope";\nexport default 1;',
    'package.ts': '\nimport { x } from "@scope/name/part";\nexport default { fetch: x };',
  });
  assert.match((await failure('file.ts')).message, /^file\.ts:1:8: there is no file "\.\/nope"/);
  assert.match((await failure('package.ts')).message, /^package\.ts:2:19: .*npm install @scope\/name\)/);
});

test('modules of Node.js are refused, with the name and the place of the import', async () => {
  await files({
    'prefixed.ts': 'import { readFile } from "node:fs/promises";\nexport default { fetch: readFile };',
    'bare.ts': 'import path from "path";\nexport default { fetch: path.join };',
    'inner.ts': 'import "needs-node";\nexport default 1;',
    'node_modules/needs-node/index.js': 'require("node:net");',
  });
  assert.match(
    (await failure('prefixed.ts')).message,
    /^prefixed\.ts:1:26: "node:fs\/promises" is a module of Node\.js/,
  );
  assert.match((await failure('bare.ts')).message, /^bare\.ts:1:18: "path" is a module of Node\.js/);
  assert.match((await failure('inner.ts')).message, /^node_modules\/needs-node\/index\.js:1:9: "node:net"/);
});

test('a package that stands in for a module of Node.js is taken', async () => {
  await files({
    'index.ts': `import { message } from 'events';\n${handler}`,
    'node_modules/events/index.js': 'export const message = "a stand-in";',
  });
  assert.is((await load((await bundle('index.ts')).source)).default.fetch(), 'a stand-in');
});

test('of several errors the first is told, and how many more there are', async () => {
  await files({ 'index.ts': 'import "./a"; import "./b"; export default 1;' });
  assert.match((await failure('index.ts')).message, /^index\.ts:1:8: .*\(and 1 more\)/);
});

test('a missing file is named', async () => {
  const error = await failure('nowhere/index.ts');
  assert.is(error.code, 'SOURCE_NOT_FOUND');
  assert.match(error.message, 'nowhere/index.ts');
});

test('a file that serves nothing is refused, with what to add', async () => {
  await files({ 'index.ts': 'export const answer = 42;' });
  const error = await failure('index.ts');
  assert.is(error.code, 'SOURCE_NO_HANDLER');
  assert.match(error.message, 'export default { fetch');
});

test('what a module throws at its top level is left to the node to tell, with its place', async () => {
  await files({
    'index.ts': 'const name: string = "DB";\nthrow new Error(name + " is missing");\nexport default {};\n',
    'listener.ts': 'throw new Error("too early");\naddEventListener("fetch", () => {});\n',
  });
  for (const [file, place] of [
    ['index.ts', 'index.ts:2:7'],
    ['listener.ts', 'listener.ts:1:7'],
  ] as const) {
    const made = await bundle(file);
    const line = made.source.split('\n').findIndex((text) => text.includes('throw')) + 1;
    const column = made.source.split('\n')[line - 1]!.indexOf('new Error') + 1;
    const told = made.explain(buildErrors.BUILD_FAILED(`function.js:${line}:${column}: Error: no good`)) as Error;
    assert.ok(told.message.startsWith(`${place}: Error: no good`), told.message);
  }
});

test('what the node says about the bundle is told with the place in the file that the user wrote', async () => {
  await files({
    'src/index.ts': 'import { check } from "./check.ts";\nexport default { fetch() { return check } };',
    'src/check.ts': 'interface Unused {\n  a: string;\n}\n\nexport const check = (null as unknown as Unused).a;\n',
  });
  const made = await bundle('src/index.ts');
  const line = made.source.split('\n').findIndex((text) => text.includes('null.a'));
  const column = made.source.split('\n')[line]!.indexOf('null.a');
  const told = made.explain(
    buildErrors.BUILD_FAILED(`function.js:${line + 1}:${column + 1}: TypeError: null has no properties`),
  );
  assert.instance(told, SkerryError);
  assert.match(
    (told as SkerryError).message,
    /^src\/check\.ts:5:\d+: TypeError: null has no properties;.*\[SOURCE_ERROR\]$/,
  );
});

test('what the node says about anything else is left as it is', async () => {
  await files({ 'index.ts': 'export default { fetch() {} };' });
  const made = await bundle('index.ts');
  for (const error of [
    buildErrors.BUILD_TIMEOUT('index.ts', 15),
    buildErrors.BUILD_FAILED('no place'),
    new Error('x'),
  ]) {
    assert.is(made.explain(error), error);
  }
});

test('the example of the project bundles', async () => {
  const made = await bundleSource(join(projectRoot, 'examples/hello/index.ts'));
  const app = (await load(made.source)).default as { fetch(request?: Request): Response };
  const answer = app.fetch(new Request('http://hello.localhost/some/path'));
  assert.is(answer.status, 200);
  assert.match(await answer.text(), /Hello.*\/some\/path/);
});

test.run();
