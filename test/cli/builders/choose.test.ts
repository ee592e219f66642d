/** What `skerry deploy FOLDER` takes a folder for, and why; without a node and without compilers. */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BUILDERS, choiceText, chooseBuilder } from '../../../cli/builders/choose.ts';
import { SourceFolder } from '../../../cli/builders/source-folder.ts';
import { BUILDER_NAMES } from '../../../runtime/workload/build-settings.ts';
import { assertFailure, skerry } from '../../support/cli.ts';
import { writeFiles } from '../../support/files.ts';

const test = suite<{ place: string }>('builders of folders');
test.before.each((scene) => {
  scene.place = mkdtempSync(join(tmpdir(), 'skerry-choose-'));
});
test.after.each(({ place }) => rmSync(place, { recursive: true }));

function fill(place: string, files: Record<string, string>): SourceFolder {
  return new SourceFolder(writeFiles(place, files));
}

const HANDLER = 'export default { fetch: () => new Response("x") };\n';
const START = JSON.stringify({ scripts: { start: 'node server.js' } });

const folders: [string, Record<string, string>, string, RegExp][] = [
  ['a module with a handler', { 'index.ts': HANDLER }, 'javascript', /index\.ts has a handler$/],
  [
    'the main of package.json',
    { 'package.json': '{"main":"src/a.mjs"}', 'src/a.mjs': HANDLER },
    'javascript',
    /src\/a\.mjs/,
  ],
  ['a listener', { 'main.js': "addEventListener('fetch', () => {})" }, 'javascript', /main\.js/],
  [
    'an app of Node.js',
    { 'package.json': START, 'index.js': 'require("http")' },
    'node',
    /start script: node server\.js/,
  ],
  ['server.js with a package.json', { 'package.json': '{}', 'server.js': '' }, 'node', /package\.json and server\.js/],
  ['a Go module', { 'go.mod': 'module example.com/shop\n\ngo 1.24\n' }, 'go', /of module example\.com\/shop/],
  ['a crate', { 'Cargo.toml': '[package]\nname = "shop"\n' }, 'rust', /package shop, compiled for wasm32-wasip2/],
  [
    'a crate that listens by itself',
    { 'Cargo.toml': '[package]\nname = "shop"\n[dependencies]\naxum = "0.8"\n' },
    'rust-image',
    /listens by axum, compiled for \w+-unknown-linux-musl/,
  ],
  [
    'a crate of a function that uses hyper',
    { 'Cargo.toml': '[package]\nname = "shop"\n[dependencies]\nhyper = "1"\nwstd = "0.6"\n' },
    'rust',
    /wasm32-wasip2/,
  ],
  ['a handler in Python', { 'app.py': 'class IncomingHandler(x):\n  pass\n' }, 'python', /app\.py has a class/],
  [
    'a server in Python',
    { 'requirements.txt': 'flask\n', 'app.py': 'run()\n' },
    'python-image',
    /requirements\.txt and app\.py/,
  ],
  ['a project of Python', { 'pyproject.toml': '[project]\n', 'main.py': 'run()\n' }, 'python-image', /pyproject\.toml/],
  ['a pom', { 'pom.xml': '<project/>' }, 'java', /pom\.xml, packaged with Maven/],
  ['a jar of Gradle', { 'build/libs/a.jar': '', 'build/libs/a-plain.jar': '' }, 'java', /build\/libs\/a\.jar is a jar/],
  ['a page', { 'index.html': 'hi' }, 'static', /index\.html is a page/],
  [
    'a built site beside its source',
    { 'package.json': '{"scripts":{"build":"vite"}}', 'index.html': '', 'dist/index.html': '' },
    'static',
    /dist\/index\.html/,
  ],
  ['a Containerfile', { Containerfile: 'FROM scratch' }, 'dockerfile', /Containerfile says how/],
];
for (const [what, files, builder, why] of folders) {
  test(`${what} is built by ${builder}`, async ({ place }) => {
    const choice = await chooseBuilder(fill(place, files));
    assert.is(choice.builder.name, builder);
    assert.match(choice.why, why);
    assert.equal(choice.others, []);
  });
}

test('of two that fit the first wins, and it is said over which', async ({ place }) => {
  const folder = fill(place, { Dockerfile: 'FROM scratch', 'go.mod': 'module m\n', 'index.html': '' });
  const text = choiceText(await chooseBuilder(folder));
  assert.is(
    text,
    'Built by dockerfile as an image: Dockerfile says how; it comes before go, static (functions before images, a Dockerfile before what is guessed)',
  );
  assert.is((await chooseBuilder(folder, { builder: 'go' })).builder.name, 'go');
});

test('a function wins over the Dockerfile beside it', async ({ place }) => {
  const choice = await chooseBuilder(fill(place, { Dockerfile: 'FROM scratch', 'index.ts': HANDLER }));
  assert.is(choice.builder.name, 'javascript');
  assert.equal(choice.others, ['dockerfile']);
});

test('a script that shows no handler is bundled only when nothing else fits', async ({ place }) => {
  const folder = fill(place, { 'index.js': 'export { x } from "./x.js";' });
  assert.is((await chooseBuilder(folder)).builder.name, 'javascript');
  fill(place, { Dockerfile: 'FROM scratch' });
  assert.is((await chooseBuilder(folder)).builder.name, 'dockerfile');
});

test('nothing found: every thing that was looked for is named', async ({ place }) => {
  fill(place, { 'readme.md': '' });
  const result = await skerry(['deploy', place], { data: place });
  assertFailure(result, 'NO_MAIN', 1, /index\.ts.*go\.mod.*pom\.xml.*package\.json.*index\.html.*--builder/);
});

test('--builder is one of those there are, and says what the folder lacks for it', async ({ place }) => {
  fill(place, { 'index.html': '' });
  const wrong = await skerry(['deploy', place, '--builder', 'cobol'], { data: place });
  assertFailure(wrong, 'USAGE', 2, /cobol.*javascript.*static/);
  assertFailure(await skerry(['deploy', place, '--builder', 'go'], { data: place }), 'BUILDER_LACKS', 1, /no go\.mod/);
  fill(place, { 'a.wasm': '' });
  const file = await skerry(['deploy', join(place, 'a.wasm'), '--builder', 'go'], { data: place });
  assertFailure(file, 'USAGE', 2, /is no folder/);
  assert.equal(BUILDERS.map(({ name }) => name).sort(), BUILDER_NAMES.slice(1).sort());
});

test('--base and --network are refused where they would mean nothing, and skerry.toml says both but the network', async ({
  place,
}) => {
  fill(place, { 'index.html': '', 'a.wasm': '' });
  const deploy = (...args: string[]) => skerry(['deploy', ...args], { data: place });
  const base = await deploy(place, '--base', 'alpine');
  assertFailure(base, 'BUILD_SETTING', 1, /base: the builder static begins from no image.*node, python-image/);
  const network = await deploy(place, '--network');
  assertFailure(network, 'BUILD_SETTING', 1, /network: the builder static has no steps.*dockerfile.*node/);
  for (const flag of [['--base', 'x'], ['--network']])
    assertFailure(await deploy(join(place, 'a.wasm'), ...flag), 'USAGE', 2, /is no folder/);
  fill(place, { 'skerry.toml': 'main = "a.wasm"\n[build]\nbase = "x"\n' });
  assertFailure(await deploy(place), 'USAGE', 2, /a\.wasm, the main of .*skerry\.toml, is no folder/);
  fill(place, { 'skerry.toml': '[build]\nbuilder = "go"\n' });
  assertFailure(await deploy(place), 'BUILDER_LACKS', 1, /no go\.mod/);
  assertFailure(await deploy(place, '--builder', 'java'), 'BUILDER_LACKS', 1, /no a \.jar|\.jar/);
  fill(place, { 'skerry.toml': '[build]\nbuilder = "cobol"\n' });
  assertFailure(
    await deploy(place),
    'SETTING',
    1,
    /skerry\.toml:2:\d+: build\.builder: must be one of auto, javascript/,
  );
  fill(place, { 'skerry.toml': '[build]\nnetwork = true\n' });
  assertFailure(await deploy(place), 'SETTING', 1, /skerry\.toml:2:1: build\.network/);
});

test('a manifest that cannot be parsed is told with its place', async ({ place }) => {
  fill(place, { 'package.json': '{"scripts":' });
  assertFailure(await skerry(['deploy', place], { data: place }), 'SYNTAX', 1, /package\.json:1:/);
  rmSync(join(place, 'package.json'));
  fill(place, { 'Cargo.toml': '[package\n' });
  assertFailure(await skerry(['deploy', place], { data: place }), 'SYNTAX', 1, /Cargo\.toml:1:/);
});

test('files that hold secrets, and links out of the folder, get into no build', async ({ place }) => {
  const folder = fill(place, {
    'a.js': '',
    '.env': 'KEY=1',
    'b/.env.local': '',
    'node_modules/x/y.js': '',
    '.git/HEAD': '',
  });
  symlinkSync('a.js', join(place, 'link.js'));
  assert.equal(await folder.files(), ['a.js', 'link.js']);
  symlinkSync('/etc/shadow', join(place, 'b', 'stolen'));
  const error = await folder.files().then(
    () => null,
    (thrown: { code: string }) => thrown.code,
  );
  assert.is(error, 'SOURCE_LINK');
});

test.run();
