/** The functions of examples/, built with the commands that their READMEs document. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';
import { cacheFolder } from './cache.ts';
import { collect, type Result } from './cli.ts';

/** Outside the tree, so that a fresh clone finds what another one built. */
export const exampleCache = cacheFolder('test-examples');

const examples = join(projectRoot, 'examples');
/** What builds leave in an example's folder. */
const MADE = new Set(['target', 'node_modules', 'package-lock.json', '.venv', '__pycache__', 'imports', 'wit_exports']);

/** Tools that no registry has for a build to install: how to ask whether they are there. */
const TOOLS = { cargo: ['--version'], go: ['version'], python3: ['-c', 'import venv, ensurepip'] };

interface Documented {
  /** The commands that build it, typed in its own folder; none for JavaScript without packages. */
  readonly build: string;
  /** The lines that deploy it and ask it, typed in the folder of Skerry. */
  readonly deploy: readonly string[];
}

/** What the README of an example says to type. */
export async function documented(name: string): Promise<Documented> {
  const text = await readFile(join(examples, name, 'README.md'), 'utf8');
  const block = (intro: string) => new RegExp(`^${intro}[^\`]*\`\`\`sh\\n(.*?)\`\`\``, 'ms').exec(text)?.[1] ?? '';
  return { build: block('Build it'), deploy: block('Deploy it').trim().split('\n') };
}

/** Why an example cannot be built on this machine, or null. */
export async function exampleMissing(name: string): Promise<string | null> {
  const { build } = await documented(name);
  for (const [tool, args] of Object.entries(TOOLS)) {
    if (!new RegExp(`(^|\\s)${tool} `, 'm').test(build)) continue;
    if (spawnSync(tool, args).status !== 0) return `${tool} is not installed, or not whole`;
  }
  return null;
}

const built = new Map<string, Promise<string>>();

/**
 * A folder with a copy of the example in `examples/NAME`, built, where its documented commands can be typed as in the
 * folder of Skerry. It is kept until the example, its tools or the interfaces it uses change.
 */
export function builtExample(name: string): Promise<string> {
  let folder = built.get(name);
  if (!folder) {
    folder = build(name);
    built.set(name, folder);
  }
  return folder;
}

async function build(name: string): Promise<string> {
  const { build } = await documented(name);
  const done = join(exampleCache, 'built', `${name}-${await keyOf(name, build)}`);
  if (!existsSync(done)) {
    const part = `${done}.${process.pid}`;
    await copyOf(name, part);
    if (build !== '') await runBuild(build, join(part, 'examples', name));
    // Another test was quicker: what it has made is the same.
    await rename(part, done).catch(() => rm(part, { recursive: true }));
  }
  await linkPackages(done);
  return done;
}

async function copyOf(name: string, folder: string): Promise<void> {
  await mkdir(join(folder, 'examples'), { recursive: true });
  await linkPackages(folder);
  for (const each of [name, 'wit']) {
    const filter = (path: string) => !MADE.has(basename(path)) && !path.endsWith('.wasm');
    await cp(join(examples, each), join(folder, 'examples', each), { recursive: true, dereference: true, filter });
  }
}

/** The commands use the packages of this clone; those of the clone that built the example may be gone. */
async function linkPackages(folder: string): Promise<void> {
  const link = join(folder, 'node_modules');
  const packages = join(projectRoot, 'node_modules');
  if ((await readlink(link).catch(() => null)) === packages) return;
  await rm(link, { force: true });
  await symlink(packages, link);
}

/** What comes of commands typed in a shell, until the first that fails. */
export function typed(commands: string, cwd: string, env: Record<string, string>): Promise<Result> {
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
  return collect(spawn('bash', ['-ec', commands], { cwd, env: { ...process.env, NODE_OPTIONS: '', ...env }, stdio }));
}

async function runBuild(commands: string, cwd: string): Promise<void> {
  const tools = join(exampleCache, 'tools');
  const { status, stdout, stderr } = await typed(commands, cwd, {
    CARGO_INSTALL_ROOT: tools,
    // What the crates of several examples have in common is compiled once.
    CARGO_BUILD_BUILD_DIR: join(exampleCache, 'cargo'),
    PATH: `${join(tools, 'bin')}:${process.env.PATH}`,
  });
  if (status !== 0) throw new Error(`${cwd} was not built:\n${commands}\n${stdout}${stderr}`);
  await rm(join(cwd, '.venv'), { recursive: true, force: true });
}

async function keyOf(name: string, commands: string): Promise<string> {
  const hash = createHash('sha256').update(commands);
  for (const tool of ['rustc', 'go', 'python3']) {
    if (!commands.includes(tool === 'rustc' ? 'cargo' : tool)) continue;
    hash.update(spawnSync(tool, tool === 'go' ? ['version'] : ['--version'], { encoding: 'utf8' }).stdout ?? '');
  }
  if (commands.includes('/jco/')) {
    hash.update(await readFile(join(projectRoot, 'node_modules/@bytecodealliance/jco/package.json')));
  }
  for (const folder of [join(examples, name), ...(commands === '' ? [] : [join(examples, 'wit')])]) {
    for (const path of await sourcesIn(folder)) hash.update(`${path}\0`).update(await readFile(join(folder, path)));
  }
  return hash.digest('hex').slice(0, 16);
}

/** Paths of the files below a folder that no build made, in order. Links are followed. */
async function sourcesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (MADE.has(name) || name.endsWith('.wasm')) continue;
    const inside = await sourcesIn(join(folder, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTDIR') throw error;
      return null;
    });
    if (inside === null) found.push(name);
    else found.push(...inside.map((path) => join(name, path)));
  }
  return found;
}
