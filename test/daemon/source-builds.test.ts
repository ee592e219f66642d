/** `skerry deploy FOLDER` without a Dockerfile, on a real node, with the compilers of this machine. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LARGEST_SITE } from '../../cli/builders/static.ts';
import { projectRoot } from '../../errors/project-root.ts';
import { discardStandIn, standIn } from '../support/base-images.ts';
import { assertFailure, type Result, skerry } from '../support/cli.ts';
import { componentizePy } from '../support/componentize-py.ts';
import { removeContainers, whyNoImageBuilds } from '../support/container-node.ts';
import { writeFiles } from '../support/files.ts';
import { takeBuilder } from '../support/javascript.ts';
import { ask, discard, type ProcessNode, startProcess, temporaryFolder } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

interface Scene {
  readonly place: string;
  readonly node: ProcessNode;
}

const builds = suite<Scene>('builds from source');

const test = (what: string, lacking: string | null, work: (scene: Scene) => Promise<void>) =>
  testUnless(builds, lacking, what, work);

const answers = (command: string, ...args: string[]) =>
  spawnSync(command, args, { encoding: 'utf8' }).status === 0 ? null : `there is no ${command}`;
const hasTarget = (target: string) => {
  const rustc = spawnSync('rustc', ['--print', 'target-libdir', '--target', target], { encoding: 'utf8' });
  return rustc.status === 0 && existsSync(rustc.stdout.trim()) ? null : `Rust has no target ${target}`;
};

const noImages = await whyNoImageBuilds();
const noGo = noImages ?? answers('go', 'version');
const noRust = answers('cargo', '--version') ?? hasTarget('wasm32-wasip2');
const python = componentizePy();

builds.before(async (scene) => {
  const data = temporaryFolder();
  takeBuilder(data);
  const place = mkdtempSync(join(tmpdir(), 'skerry-source-'));
  Object.assign(scene, { place, node: await startProcess({ data }) });
});
builds.after(async ({ place, node }) => {
  await discard(node);
  if (noImages === null) await removeContainers(node.data);
  rmSync(place, { recursive: true, force: true });
});

function fill(scene: Scene, name: string, contents: Record<string, string | Buffer>): string {
  return writeFiles(join(scene.place, name), contents);
}

const on = ({ node }: Scene, args: readonly string[], env: Record<string, string> = {}): Promise<Result> =>
  skerry(args, { data: node.data, env });

/** Deploys it; fails when it is refused. Returns what was said, and the digest of what came of it. */
async function deployed(scene: Scene, folder: string, flags: readonly string[] = [], env = {}) {
  const { status, stdout, stderr } = await on(scene, ['deploy', folder, '--json', ...flags], env);
  assert.is(status, 0, stderr);
  const { revisions } = JSON.parse(stdout);
  return { stderr, digest: revisions[0].artifact.digest as string };
}

const get = async ({ node }: Scene, path: string, headers = {}) => ask(node.url, { path, headers });

const GO_SERVER = (greeting: string) => `package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "${greeting} from user %d\\n", os.Getuid())
	})
	http.ListenAndServe(":"+os.Getenv("PORT"), nil)
}
`;

test('a Go module is compiled, and runs alone in its image, not as root', noGo, async (scene) => {
  const folder = fill(scene, 'shop', {
    'go.mod': 'module example.com/shop\n\ngo 1.21\n',
    'main.go': GO_SERVER('hello'),
  });
  const { stderr } = await deployed(scene, folder);
  assert.match(stderr, /^Built by go as an image: go\.mod is of module example\.com\/shop$/m);
  assert.is((await get(scene, '/shop/')).body.toString(), 'hello from user 65532\n');
});

test(
  'the same Go source elsewhere, with another umask, gives the same digest; another source another',
  noGo,
  async (scene) => {
    const files = { 'go.mod': 'module example.com/same\n\ngo 1.21\n', 'cmd/server/main.go': GO_SERVER('same') };
    const first = await deployed(scene, fill(scene, 'same', files));
    const before = process.umask(0o077);
    const second = await deployed(scene, fill(scene, 'other/place', files)).finally(() => process.umask(before));
    assert.is(second.digest, first.digest);
    const changed = await deployed(scene, fill(scene, 'same', { 'cmd/server/main.go': GO_SERVER('changed') }));
    assert.is.not(changed.digest, first.digest);
  },
);

test('an error of the compiler is shown with its place', noGo, async (scene) => {
  const folder = fill(scene, 'broken', {
    'go.mod': 'module example.com/b\n',
    'main.go': 'package main\nfunc main() { x }\n',
  });
  const { status, stderr } = await on(scene, ['deploy', folder]);
  assert.is(status, 1);
  assert.match(
    stderr,
    /main\.go:2:15: undefined: x\n.*go build .*failed: it ended with status 1; .* \[TOOLCHAIN_FAILED\]\n$/,
  );
  assert.is((await on(scene, ['ls'])).stdout.includes('broken'), false);
});

test('a compiler that is not there is told with how it comes', null, async (scene) => {
  const env = { PATH: join(scene.place, 'nothing') };
  for (const [files, pattern] of [
    [{ 'go.mod': 'module m\n' }, /go is not on this machine.*go\.dev/],
    [{ 'Cargo.toml': '[package]\nname = "x"\n' }, /rustc is not on this machine.*rustup\.rs/],
    [{ 'app.py': 'class IncomingHandler:\n  pass\n' }, /componentize-py is not on this machine.*pip install/],
    [{ 'pom.xml': '<project/>' }, /mvn is not on this machine.*Maven/],
  ] as const) {
    rmSync(join(scene.place, 'tool'), { recursive: true, force: true });
    const { status, stdout, stderr } = await on(scene, ['deploy', fill(scene, 'tool', files as never)], env);
    const last = `${stderr.trimEnd().split('\n').at(-1)}\n`;
    assertFailure({ status, stdout, stderr: last }, 'TOOLCHAIN_MISSING', 1, pattern);
  }
});

test('a crate becomes a component, the same one in another place', noRust, async (scene) => {
  const digests = [];
  for (const name of ['one', 'two']) {
    const folder = join(scene.place, name, 'echo');
    cpSync(join(projectRoot, 'examples/rust'), folder, {
      recursive: true,
      filter: (path) => !/\/(target|skerry\.toml)$/.test(path),
    });
    const { stderr, digest } = await deployed(scene, folder);
    assert.match(stderr, /^Built by rust as a component: Cargo\.toml is of package rust, compiled for wasm32-wasip2$/m);
    digests.push(digest);
  }
  assert.is(digests[0], digests[1]);
  const answer = await ask(scene.node.url, { method: 'POST', path: '/echo/', body: 'sent' });
  assert.is(answer.body.toString(), 'sent');
});

const MUSL = `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-unknown-linux-musl`;
test('a crate that listens by itself runs alone in its image', noImages ?? hasTarget(MUSL), async (scene) => {
  const folder = fill(scene, 'listener', {
    'Cargo.toml': '[package]\nname = "listener"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n',
    'src/main.rs': `use std::io::{Read, Write};
fn main() {
    let port = std::env::var("PORT").unwrap();
    let listener = std::net::TcpListener::bind(format!("0.0.0.0:{port}")).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\\r\\ncontent-length: 4\\r\\nconnection: close\\r\\n\\r\\nrust");
    }
}
`,
  });
  await deployed(scene, folder, ['--builder', 'rust-image']);
  assert.is((await get(scene, '/listener/')).body.toString(), 'rust');
});

test('a handler in Python becomes a component', typeof python === 'string' ? python : null, async (scene) => {
  const source = join(projectRoot, 'examples/python');
  const folder = join(scene.place, 'counter');
  cpSync(source, folder, { recursive: true, filter: (path) => !/skerry\.toml$|\.venv|\.wasm$/.test(path) });
  const { stderr } = await deployed(scene, folder, ['--memory', '128MiB'], python as Record<string, string>);
  assert.match(stderr, /^Built by python as a component: app\.py has a class IncomingHandler$/m);
  assert.is((await get(scene, '/counter/x')).body.toString(), 'Hello from Python! You asked for /x\n');
  assert.not.ok(existsSync(join(folder, '__pycache__')), 'the build leaves nothing in the folder');
});

test(
  'a static site is served with types, tags, folders and its own page for what is not there',
  null,
  async (scene) => {
    const image = Buffer.from([0x89, 0x50, 0, 0xff, 0xfe]);
    const folder = fill(scene, 'site', {
      'index.html': '<p>home ü</p>',
      'docs/index.html': 'docs',
      'about.html': 'about',
      'a b.css': 'p {}',
      'logo.png': image,
      '404.html': 'lost',
      '.htpasswd': 'secret',
      '.well-known/security.txt': 'contact',
    });
    const { stderr, digest } = await deployed(scene, folder);
    assert.match(stderr, /^Built by static as a component: index\.html is a page$/m);
    const home = await get(scene, '/site/');
    assert.is(home.body.toString(), '<p>home ü</p>');
    assert.is(home.headers['content-type'], 'text/html; charset=utf-8');
    assert.is((await get(scene, '/site/', { 'if-none-match': home.headers.etag })).status, 304);
    assert.is((await get(scene, '/site/about')).body.toString(), 'about');
    assert.is((await get(scene, '/site/a%20b.css')).headers['content-type'], 'text/css; charset=utf-8');
    assert.equal((await get(scene, '/site/logo.png')).body, image);
    assert.is((await get(scene, '/site/.well-known/security.txt')).body.toString(), 'contact');
    const moved = await get(scene, '/site/docs?x=1');
    assert.is(moved.status, 308);
    assert.is(new URL(moved.headers.location as string, 'http://h/site/docs').pathname, '/site/docs/');
    for (const path of ['/site/none', '/site/.htpasswd', '/site/%2e%2e/x']) {
      const { status, body } = await get(scene, path);
      assert.is(status, 404, path);
      assert.is(body.toString(), 'lost', path);
    }
    assert.is((await ask(scene.node.url, { method: 'POST', path: '/site/' })).status, 405);
    const head = await ask(scene.node.url, { method: 'HEAD', path: '/site/' });
    assert.is(head.body.length, 0);
    assert.is((await deployed(scene, folder)).digest, digest);
  },
);

test('a site larger than a component may be is refused with its size', null, async (scene) => {
  const folder = fill(scene, 'large', { 'index.html': '', 'film.mp4': Buffer.alloc(LARGEST_SITE) });
  fill(scene, 'large', { 'more.bin': 'x' });
  const { status, stderr } = await on(scene, ['deploy', folder]);
  assert.is(status, 1);
  assert.match(stderr, /holds over 8 MiB of files, more than the 8 MiB allowed; .*Dockerfile.*\[SOURCE_TOO_LARGE\]/);
});

test(
  'an app of Node.js runs on the base image with its packages, which come before its code',
  noImages,
  async (scene) => {
    const npm = '/usr/lib/node_modules/npm';
    const base = standIn(
      { '/usr/local/bin/node': process.execPath },
      existsSync(npm) ? { '/usr/local/lib/npm': npm } : {},
    );
    writeFileSync(
      join(base, 'root/usr/local/bin/npm'),
      '#!/bin/sh\nexec node /usr/local/lib/npm/bin/npm-cli.js "$@"\n',
    );
    chmodSync(join(base, 'root/usr/local/bin/npm'), 0o755);
    const built = await on(scene, ['build', '-t', 'node:20-slim', base]);
    discardStandIn(base);
    assert.is(built.status, 0, built.stderr);

    const manifest = { name: 'app', version: '1.0.0', scripts: { start: 'node server.js' } };
    const server = (text: string) => `
    const greet = require(process.env.LIBRARY ?? './greet.js');
    require('node:http').createServer((_, answer) => answer.end(greet(${JSON.stringify(text)}) + process.getuid()))
      .listen(process.env.PORT);`;
    const folder = fill(scene, 'plain', {
      'package.json': JSON.stringify(manifest),
      'server.js': server('one '),
      'greet.js': 'module.exports = (text) => text + "user ";',
      '.env': 'PASSWORD=1',
    });
    const first = await deployed(scene, folder);
    assert.is((await get(scene, '/plain/')).body.toString(), 'one user 65532');
    const layers = layersOf(scene, first.digest);
    fill(scene, 'plain', { 'server.js': server('two ') });
    const second = await deployed(scene, folder);
    assert.is((await get(scene, '/plain/')).body.toString(), 'two user 65532');
    const after = layersOf(scene, second.digest);
    assert.equal(after.slice(0, -1), layers.slice(0, -1), 'a change of the code ships one layer');
    assert.is.not(after.at(-1), layers.at(-1));

    // With a package, which npm gets from the folder itself.
    const withPackage = fill(scene, 'packaged', {
      'package.json': JSON.stringify({ ...manifest, dependencies: { greet: 'file:greet' } }),
      'greet/package.json': '{"name":"greet","version":"1.0.0","main":"index.js"}',
      'greet/index.js': 'module.exports = (text) => text + "package ";',
      'server.js': server('three ').replace('process.env.LIBRARY ??', '"greet" ||'),
    });
    const refused = await on(scene, ['deploy', withPackage]);
    assert.match(refused.stderr, /there is no package-lock\.json.*npm install.*\[PROJECT_INVALID\]/);
    const lock = {
      name: 'app',
      version: '1.0.0',
      lockfileVersion: 3,
      packages: {
        '': { name: 'app', version: '1.0.0', dependencies: { greet: 'file:greet' } },
        greet: { version: '1.0.0' },
        'node_modules/greet': { resolved: 'greet', link: true },
      },
    };
    fill(scene, 'packaged', { 'package-lock.json': JSON.stringify(lock) });
    const noNetwork = await on(scene, ['deploy', withPackage]);
    assert.match(
      noNetwork.stderr,
      /`npm ci --omit=dev`, which gets packages from the network; .*--network \[BUILD_NETWORK\]/,
    );
    await deployed(scene, withPackage, ['--network']);
    assert.is((await get(scene, '/packaged/')).body.toString(), 'three package 65532');
  },
);

/** Digests of an image's layers, the base's first. */
function layersOf({ node }: Scene, digest: string): string[] {
  const content = join(node.data, 'content');
  const name = digest.replace('sha256:', '');
  const path = readdirSync(content, { recursive: true, encoding: 'utf8' }).find((each) => each.endsWith(name));
  const { layers } = JSON.parse(readFileSync(join(content, path as string), 'utf8'));
  return layers.map((layer: { digest: string }) => layer.digest);
}

builds.run();
