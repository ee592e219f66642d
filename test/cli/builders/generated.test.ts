/** What is generated for builders whose base images come from registries: Dockerfiles, and the folders that they copy from. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Work } from '../../../cli/builders/builder.ts';
import { chooseBuilder } from '../../../cli/builders/choose.ts';
import { SourceFolder } from '../../../cli/builders/source-folder.ts';
import { readZip } from '../../../cli/builders/zip.ts';
import { writeFiles } from '../../support/files.ts';

const test = suite<{ place: string }>('generated images');
test.before.each((scene) => {
  scene.place = mkdtempSync(join(tmpdir(), 'skerry-generated-'));
});
test.after.each(({ place }) => rmSync(place, { recursive: true }));

function fill(place: string, files: Record<string, string>): SourceFolder {
  return new SourceFolder(writeFiles(place, files));
}

/** What its builder makes of the folder: the Dockerfile, and the files of its context. */
async function made(folder: SourceFolder, options: Partial<Work> = {}) {
  const scratch = mkdtempSync(join(tmpdir(), 'skerry-scratch-'));
  try {
    const said = { name: 'x', env: process.env, base: undefined, network: false, step: () => {}, say: () => {} };
    const product = await (await chooseBuilder(folder)).make({ ...said, scratch, ...options });
    if (product.kind !== 'image') throw new Error(`it is ${product.kind}`);
    const files = readdirSync(product.context, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .map((file) => join(file.parentPath, file.name).slice(product.context.length + 1));
    return { dockerfile: product.dockerfile, files: files.sort() };
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

const refusal = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (error: { code?: string; message: string }) => error,
  );

test('a server in Python: its packages before its code, by somebody, from the base that was named', async ({
  place,
}) => {
  const folder = fill(place, { 'requirements.txt': 'flask==3.1.0\n', 'app.py': 'run()', '.env': 'KEY=1' });
  assert.is((await refusal(made(folder)))?.code, 'BUILD_NETWORK');
  const { dockerfile, files } = await made(folder, { network: true, base: 'mirror.example/python:3' });
  const order = [
    'FROM mirror.example/python:3',
    'COPY --chown=0:0 requirements.txt',
    'RUN python3 -m pip',
    'COPY --chown=0:0 . ./',
    'USER 65532:65532',
    'CMD ["python3","app.py"]',
  ];
  const at = order.map((line) => dockerfile.indexOf(line));
  assert.ok(
    at.every((place, i) => place > (at[i - 1] ?? -1)),
    dockerfile,
  );
  assert.equal(files, ['app.py', 'requirements.txt']);
});

test('a start script that needs a shell has one, and signals reach what it starts', async ({ place }) => {
  const start = (script: string) => fill(place, { 'package.json': JSON.stringify({ scripts: { start: script } }) });
  assert.match(
    (await made(start('node --enable-source-maps ./a.js'))).dockerfile,
    /^CMD \["node","--enable-source-maps","\.\/a\.js"\]$/m,
  );
  assert.match((await made(start('next start'))).dockerfile, /^CMD \["\/bin\/sh","-c",".*exec next start"\]$/m);
  assert.match((await made(start('FOO="1 2" node a.js\nUSER 0'))).dockerfile, /^CMD .*\\nUSER 0"\]$/m);
  assert.is((await made(start('a && b'))).dockerfile.split('\n').filter((line) => line.startsWith('USER')).length, 1);
});

const noJar = spawnSync('jar', ['--version']).status === 0 ? null : 'there is no jar tool of a JDK';
if (noJar !== null) console.log(`skipped: jars, since ${noJar}`);
const withJar = noJar === null ? test : test.skip;

/** A jar of these files whose manifest names a class. */
function jar(place: string, file: string, main: string | null, files: Record<string, string>): SourceFolder {
  const content = join(place, 'content');
  fill(content, { ...files, manifest: main === null ? '' : `Main-Class: ${main}\n` });
  mkdirSync(dirname(join(place, file)), { recursive: true });
  execFileSync('jar', [
    '--create',
    '--file',
    join(place, file),
    '--manifest',
    join(content, 'manifest'),
    '-C',
    content,
    '.',
  ]);
  rmSync(content, { recursive: true });
  return new SourceFolder(place);
}

withJar('a Spring Boot jar is taken apart: libraries, loader, code', async ({ place }) => {
  const loader = 'org.springframework.boot.loader.launch.JarLauncher';
  const folder = jar(place, 'target/shop-1.jar', loader, {
    'BOOT-INF/lib/spring-core-6.jar': 'x',
    'BOOT-INF/lib/own-1-SNAPSHOT.jar': 'x',
    'BOOT-INF/classes/Shop.class': 'x'.repeat(5000),
    'org/springframework/boot/loader/launch/JarLauncher.class': 'x',
  });
  const { dockerfile, files } = await made(folder);
  assert.match(dockerfile, /libraries \.\/\nCOPY .*loader \.\/\nCOPY .*code \.\/\nUSER 65532:65532\n/);
  assert.ok(dockerfile.endsWith(`CMD ["java","-cp","/app","${loader}"]\n`), dockerfile);
  assert.match(dockerfile, /^FROM eclipse-temurin:21-jre$/m);
  for (const file of [
    'libraries/BOOT-INF/lib/spring-core-6.jar',
    'code/BOOT-INF/lib/own-1-SNAPSHOT.jar',
    'code/BOOT-INF/classes/Shop.class',
    'code/META-INF/MANIFEST.MF',
    'loader/org/springframework/boot/loader/launch/JarLauncher.class',
  ]) {
    assert.ok(files.includes(file), `${file} in ${files}`);
  }
});

withJar('any other jar that runs stays whole; one that does not, or two of them, are refused', async ({ place }) => {
  const { dockerfile, files } = await made(jar(place, 'app.jar', 'App', { 'App.class': 'x' }));
  assert.ok(dockerfile.endsWith('CMD ["java","-jar","/app/app.jar"]\n'));
  assert.equal(files, ['code/app.jar']);
  const two = await refusal(made(jar(place, 'other.jar', 'App', {})));
  assert.match(two?.message ?? '', /could be any of app\.jar, other\.jar.*\[PROJECT_INVALID\]/);
  rmSync(join(place, 'app.jar'));
  const library = await refusal(made(jar(place, 'other.jar', null, {})));
  assert.match(library?.message ?? '', /names no Main-Class.*\[PROJECT_INVALID\]/);
  for (const bytes of [Buffer.from('PK'), archiveWith('cut').subarray(30)]) {
    writeFileSync(join(place, 'other.jar'), bytes);
    assert.is((await refusal(made(new SourceFolder(place))))?.code, 'PROJECT_INVALID');
  }
});

test('names in an archive that lead out of it are refused', () => {
  for (const name of ['../evil', '/etc/passwd', 'a/../../b', 'a\\..\\b']) {
    assert.throws(() => readZip(archiveWith(name)), /leads out of it/);
  }
  assert.is(readZip(archiveWith('a/b'))[0]?.name, 'a/b');
});

/** The directory of a ZIP archive with one empty entry. */
function archiveWith(name: string): Buffer {
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 10);
  return Buffer.concat([entry, Buffer.from(name), end]);
}

test.run();
