/** A Spring Boot jar, or any that runs by itself: an image on a Java runtime, libraries first. */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { unreadable } from '../unreadable.ts';
import { type Builder, NOBODY, type Product, type Work } from './builder.ts';
import { builderErrors } from './errors.ts';
import type { SourceFolder } from './source-folder.ts';
import { runTool, type Tool } from './toolchain.ts';
import { readZip, type ZipEntry } from './zip.ts';

const JAVA_BASE = 'eclipse-temurin:21-jre';
/** Where Maven and Gradle put them. */
const FOLDERS = ['.', 'target', 'build/libs'];
const BESIDE = /-(?:sources|javadoc|tests|plain)\.jar$/;
const LAYERS = ['libraries', 'loader', 'code'];
/** Bytes. */
const LARGEST = 1024 ** 3;

export const java: Builder = {
  name: 'java',
  makes: 'image',
  takes: ['base'],
  looksFor: 'a .jar that runs, here, in target/ or in build/libs/, or pom.xml',
  async detect(folder) {
    // A jar of an earlier build may be older than the source.
    if (await folder.has('pom.xml')) {
      return { why: 'pom.xml, packaged with Maven', make: (work) => packageWithMaven(folder, work) };
    }
    const [jar] = await jarsOf(folder);
    if (jar === undefined) return null;
    return { why: `${jar} is a jar`, make: (work) => make(folder, work) };
  },
};

async function jarsOf(folder: SourceFolder, folders = FOLDERS): Promise<string[]> {
  const found: string[] = [];
  for (const at of folders) {
    for (const name of await folder.names(at))
      if (name.endsWith('.jar') && !BESIDE.test(name)) found.push(join(at, name));
  }
  return found;
}

async function packageWithMaven(folder: SourceFolder, work: Work): Promise<Product> {
  const own = (await folder.has('mvnw')) ? resolve(folder.path, 'mvnw') : 'mvn';
  const tool: Tool = { command: own, builder: 'java', install: 'install Maven and a JDK (maven, default-jdk)' };
  work.step(`Packaging ${folder.path} with Maven`);
  // Jars are archives with the times of their entries.
  const same = '-Dproject.build.outputTimestamp=1980-01-01T00:00:02Z';
  await runTool(tool, ['--batch-mode', '--quiet', '-DskipTests', same, 'package'], folder.path, work);
  return make(folder, work, ['target']);
}

async function make(folder: SourceFolder, work: Work, folders?: readonly string[]): Promise<Product> {
  const jars = await jarsOf(folder, folders as string[] | undefined);
  const [jar, ...more] = jars;
  if (jar === undefined || more.length > 0) {
    throw builderErrors.PROJECT_INVALID(
      folder.at(folders?.[0] ?? '.'),
      jar === undefined ? 'there is no jar' : `could be any of ${jars.join(', ')}`,
      'leave the one there that runs',
    );
  }
  const context = join(work.scratch, 'context');
  const run = await unpackJar(folder.at(jar), context).catch((error: Error) => {
    if ('syscall' in error) throw unreadable(folder.at(jar), error);
    throw builderErrors.PROJECT_INVALID(folder.at(jar), error.message, 'package it again');
  });
  return { kind: 'image', dockerfile: javaDockerfile(run, work.base), context };
}

/** What changes seldom comes first: libraries, Spring's own loader, the code. */
function javaDockerfile(run: readonly string[], base: string = JAVA_BASE): string {
  return [
    `FROM ${base}`,
    'WORKDIR /app',
    ...LAYERS.map((layer) => `COPY --chown=0:0 ${layer} ./`),
    `USER ${NOBODY}`,
    `CMD ${JSON.stringify(['java', ...run])}`,
    '',
  ].join('\n');
}

/**
 * Into folders by how often they change; a jar that is not Spring Boot's stays whole. Returns what Java is told to run. Throws an
 * Error with what is wrong.
 */
async function unpackJar(jar: string, to: string): Promise<string[]> {
  if ((await stat(jar)).size > LARGEST) throw new Error('it is larger than 1 GiB');
  const archive = await readFile(jar);
  const entries = readZip(archive);
  const main = mainClass(entries);
  for (const layer of LAYERS) await mkdir(join(to, layer), { recursive: true, mode: 0o755 });
  if (!entries.some(({ name }) => name.startsWith('BOOT-INF/'))) {
    await writeFile(join(to, 'code', 'app.jar'), archive, { mode: 0o644 });
    return ['-jar', '/app/app.jar'];
  }
  for (const entry of entries) {
    if (entry.name.endsWith('/')) continue;
    const file = join(to, layerOf(entry.name), entry.name);
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    await writeFile(file, entry.read(), { mode: 0o644 });
  }
  return ['-cp', '/app', main];
}

function layerOf(name: string): string {
  if (/^BOOT-INF\/lib\/(?!.*-SNAPSHOT\.jar$)/.test(name)) return 'libraries';
  return name.startsWith('org/springframework/boot/loader/') ? 'loader' : 'code';
}

/** `Main-Class` of the manifest; lines that begin with a blank go on the one before (JAR File Specification). */
function mainClass(entries: readonly ZipEntry[]): string {
  const manifest =
    entries
      .find(({ name }) => name === 'META-INF/MANIFEST.MF')
      ?.read()
      .toString('utf8') ?? '';
  const main = /^Main-Class:\s*([\w.$]+)\s*$/im.exec(manifest.replaceAll(/\r?\n /g, ''))?.[1];
  if (main === undefined) throw new Error('its manifest names no Main-Class, so that it does not run by itself');
  return main;
}
