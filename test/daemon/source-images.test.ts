/** `skerry deploy FOLDER` of what serves HTTP in Python and Java, on stand-ins for the base images of public registries. */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { discardStandIn, javaStandIn, pythonStandIn } from '../support/base-images.ts';
import { skerry } from '../support/cli.ts';
import { removeContainers, whyNoImageBuilds } from '../support/container-node.ts';
import { writeFiles } from '../support/files.ts';
import { ask, discard, type ProcessNode, startProcess } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

interface Scene {
  readonly place: string;
  readonly node: ProcessNode;
}

const images = suite<Scene>('images from source, on a base');
const noImages = await whyNoImageBuilds();
const python = pythonStandIn();
const java = javaStandIn();

images.before(async (scene) => {
  if (noImages !== null) return;
  Object.assign(scene, { place: mkdtempSync(join(tmpdir(), 'skerry-bases-')), node: await startProcess() });
});
images.after(async ({ place, node }) => {
  if (noImages !== null) return;
  await discard(node);
  await removeContainers(node.data);
  rmSync(place, { recursive: true, force: true });
});

const on = ({ node }: Scene, ...args: string[]) => skerry(args, { data: node.data });

/** Fails when it is refused. Returns the last line that it told, and the digest of what came of it. */
async function deployed(scene: Scene, folder: string, ...flags: string[]): Promise<{ said: string; digest: string }> {
  const { status, stdout, stderr } = await on(scene, 'deploy', folder, '--json', ...flags);
  assert.is(status, 0, stderr);
  return { said: stderr, digest: JSON.parse(stdout).revisions[0].artifact.digest };
}

async function buildBase(scene: Scene, name: string, place: string): Promise<void> {
  const { status, stderr } = await on(scene, 'build', '-t', name, place);
  discardStandIn(place);
  assert.is(status, 0, stderr);
}

const page = async ({ node }: Scene, path: string) => (await ask(node.url, { path })).body.toString();

testUnless(
  images,
  noImages ?? (typeof python === 'string' ? python : null),
  'a server in Python runs with its packages, not as root; the same source gives the same digest',
  async (scene) => {
    await buildBase(scene, 'python:3.13-slim', (python as { make: () => string }).make());
    const server = `import http.server, os, sys
sys.path.append('.')
from greet import greet

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (greet() + ' to user ' + str(os.getuid())).encode()
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
`;
    const plain = { 'requirements.txt': '# none\n', 'main.py': server, 'greet.py': 'def greet(): return "plain"\n' };
    const first = await deployed(scene, writeFiles(join(scene.place, 'plain'), plain));
    assert.match(first.said, /^Built by python-image as an image: requirements\.txt and main\.py/m);
    assert.is(await page(scene, '/plain/'), 'plain to user 65532');
    const again = await deployed(scene, writeFiles(join(scene.place, 'elsewhere', 'plain'), plain));
    assert.is(again.digest, first.digest);

    // With a package, from an index of this machine's.
    const wheel = wheelOf(scene.place, 'greet', 'def greet(): return "packaged"\n');
    const index = createServer((request, answer) => {
      if (request.url === `/${WHEEL}`) return answer.end(wheel);
      answer.setHeader('content-type', 'text/html');
      answer.end(`<a href="/${WHEEL}">${WHEEL}</a>`);
    });
    index.listen(0, '127.0.0.1');
    await once(index, 'listening');
    try {
      const { port } = index.address() as { port: number };
      const requirements = `--no-index\n--find-links http://127.0.0.1:${port}/\ngreet==1.0\n`;
      const files = { 'requirements.txt': requirements, 'main.py': server };
      const folder = writeFiles(join(scene.place, 'packaged'), files);
      assert.match((await on(scene, 'deploy', folder)).stderr, /`pip install.*--network \[BUILD_NETWORK\]/);
      writeFileSync(
        join(scene.place, 'node.yaml'),
        'workloads:\n  - { name: packaged, source: ./packaged, build: { builder: python-image, network: true } }\n',
      );
      writeFileSync(join(folder, 'requirements.txt'), requirements.replace('1.0', '2.0'));
      const failed = await on(scene, 'deploy', folder, '--network');
      assert.match(failed.stderr, /^ERROR: No matching distribution found for greet==2\.0$.*IMAGE_BUILD_STEP_FAILED/ms);
      writeFileSync(join(folder, 'requirements.txt'), requirements);
      const applied = await on(scene, 'apply', '-f', join(scene.place, 'node.yaml'));
      assert.is(applied.status, 0, applied.stderr);
      assert.is(await page(scene, '/packaged/'), 'packaged to user 65532');
    } finally {
      index.close();
    }
  },
);

const WHEEL = 'greet-1.0-py3-none-any.whl';

/** A package of one module. */
function wheelOf(place: string, name: string, text: string): Buffer {
  const info = `${name}-1.0.dist-info`;
  const files = {
    [`${name}.py`]: text,
    [`${info}/METADATA`]: `Metadata-Version: 2.1\nName: ${name}\nVersion: 1.0\n`,
    [`${info}/WHEEL`]: 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    [`${info}/RECORD`]: `${name}.py,,\n${info}/METADATA,,\n${info}/WHEEL,,\n${info}/RECORD,,\n`,
  };
  const folder = writeFiles(join(place, 'wheel'), files);
  const path = join(place, 'wheel-file');
  execFileSync('python3', ['-c', 'import shutil, sys; shutil.make_archive(*sys.argv[1:])', path, 'zip', folder]);
  return readFileSync(`${path}.zip`);
}

const SERVER = (text: string) => `package shop;

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Main {
  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", (exchange) -> {
      byte[] body = "${text}".getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
`;

/** What Spring Boot's loader does with a jar that was unpacked: runs the code below BOOT-INF/classes. */
const LOADER = `package org.springframework.boot.loader.launch;

import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;

public class JarLauncher {
  public static void main(String[] arguments) throws Exception {
    Path here = Path.of(JarLauncher.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    URL[] classes = { here.resolve("BOOT-INF/classes/").toUri().toURL() };
    Class<?> main = new URLClassLoader(classes).loadClass("shop.Main");
    main.getMethod("main", String[].class).invoke(null, (Object) arguments);
  }
}
`;

/** Compiles these and puts them into `app.jar` of a new folder, below these paths. */
function jarOf(folder: string, main: string, classes: Record<string, { text: string; below: string }>): string {
  const work = `${folder}-classes`;
  for (const [name, { text, below }] of Object.entries(classes)) {
    const source = join(work, 'source', `${name}.java`);
    mkdirSync(dirname(source), { recursive: true });
    writeFileSync(source, text);
    execFileSync('javac', ['--release', '17', '-d', join(work, 'classes', below), source]);
  }
  mkdirSync(folder, { recursive: true });
  execFileSync('jar', [
    '--create',
    '--file',
    join(folder, 'app.jar'),
    '--main-class',
    main,
    '-C',
    join(work, 'classes'),
    '.',
  ]);
  return folder;
}

const noJava = noImages ?? (typeof java === 'string' ? java : null);
/** Made once, by the first test that needs it. */
let base: Promise<void> | null = null;
const javaBase = (scene: Scene) => {
  base ??= buildBase(scene, 'jre', (java as { make: () => string }).make());
  return base;
};

testUnless(images, noJava, 'a jar that runs by itself, and one of the shape of Spring Boot, answer', async (scene) => {
  await javaBase(scene);
  const flags = ['--base', 'jre', '--memory', '256MiB'];
  const plain = { 'shop/Main': { text: SERVER('a jar'), below: '.' } };
  const { said } = await deployed(scene, jarOf(join(scene.place, 'jar'), 'shop.Main', plain), ...flags);
  assert.match(said, /^Built by java as an image: app\.jar is a jar$/m);
  assert.is(await page(scene, '/jar/'), 'a jar');
  const loader = 'org.springframework.boot.loader.launch.JarLauncher';
  const spring = jarOf(join(scene.place, 'spring'), loader, {
    [loader.replaceAll('.', '/')]: { text: LOADER, below: '.' },
    'shop/Main': { text: SERVER('like Spring Boot'), below: 'BOOT-INF/classes' },
  });
  await deployed(scene, spring, ...flags);
  assert.is(await page(scene, '/spring/'), 'like Spring Boot');
});

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>example</groupId><artifactId>shop</artifactId><version>1</version>
  <properties>
    <maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <build><plugins><plugin>
    <artifactId>maven-jar-plugin</artifactId><version>3.3.0</version>
    <configuration><archive><manifest><mainClass>shop.Main</mainClass></manifest></archive></configuration>
  </plugin></plugins></build>
</project>
`;
const project = (text: string) => ({ 'pom.xml': POM, 'src/main/java/shop/Main.java': SERVER(text) });

/** Maven gets its plugins from the network; null where it has them, or can get them. */
function whyNoMaven(): string | null {
  const place = mkdtempSync(join(tmpdir(), 'skerry-maven-'));
  try {
    writeFiles(place, project('x'));
    const done = spawnSync('mvn', ['--batch-mode', '-q', '-DskipTests', 'package'], { cwd: place, encoding: 'utf8' });
    if (done.error) return 'there is no mvn (apt-get install maven)';
    return done.status === 0 ? null : 'Maven cannot get its plugins';
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

testUnless(
  images,
  noJava ?? whyNoMaven(),
  'a pom is packaged and answers; the same source elsewhere gives the same digest',
  async (scene) => {
    await javaBase(scene);
    const flags = ['--base', 'jre', '--memory', '256MiB'];
    const first = await deployed(scene, writeFiles(join(scene.place, 'pom'), project('a pom')), ...flags);
    assert.match(first.said, /^Built by java as an image: pom\.xml, packaged with Maven$/m);
    assert.is(await page(scene, '/pom/'), 'a pom');
    const again = await deployed(scene, writeFiles(join(scene.place, 'elsewhere', 'pom'), project('a pom')), ...flags);
    assert.is(again.digest, first.digest);
  },
);

images.run();
