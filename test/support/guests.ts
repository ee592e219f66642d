/** Builds the components of test/guests/ once and says where they are. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from '@bytecodealliance/jco';
import { projectRoot } from '../../errors/project-root.ts';
import type { ComponentFile } from '../../runtime/drivers/wasm/engine.ts';
import { cacheFolder, keptFile } from './cache.ts';

const sources = join(projectRoot, 'test/guests');

/** Guests written in Rust: crates of the workspace test/guests/. */
const rustGuests = ['behaviours', 'behaviours-p3', 'services'] as const;
export type RustGuest = (typeof rustGuests)[number];
/** Guests written as text: test/guests/wat/NAME.wat. */
export type WatGuest =
  | 'loop-at-start'
  | 'grow-at-start'
  | 'grow-all'
  | 'grow-tables'
  | 'large-table'
  | 'foreign-import'
  | 'no-handler'
  | 'core-module';
export type Guest = RustGuest | WatGuest;

/** Why the Rust guests cannot be built here, or null. Tests that need them say so in their skip. */
export async function rustMissing(): Promise<string | null> {
  try {
    await run('cargo', ['--version'], sources);
    return null;
  } catch {
    return 'cargo is not installed';
  }
}

const built = new Map<Guest, Promise<string>>();

/** The path of a guest, built if its sources changed since. The first build of the Rust guests takes a minute. */
export function guest(name: Guest): Promise<string> {
  let path = built.get(name);
  if (!path) {
    path = rustGuests.some((each) => each === name) ? buildRust(name as RustGuest) : buildWat(name as WatGuest);
    built.set(name, path);
  }
  return path;
}

/** A guest as engines take it. */
export async function guestComponent(name: Guest): Promise<ComponentFile> {
  return componentFile(await guest(name));
}

/** Any file as engines take it. */
export async function componentFile(path: string): Promise<ComponentFile> {
  const digest = createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
  return { digest: `sha256:${digest}`, path };
}

/** Outside the tree, so that a fresh clone finds what another one built. */
const guestCache = cacheFolder('test-guests');

let rust: Promise<string> | undefined;

async function buildRust(name: RustGuest): Promise<string> {
  rust ??= buildWorkspace();
  return join(await rust, `${name.replaceAll('-', '_')}.wasm`);
}

/** The folder of what these sources and this compiler gave. Two clones with other sources do not disturb each other. */
async function buildWorkspace(): Promise<string> {
  const made = join(guestCache, 'built', await rustKey());
  if (existsSync(made)) return made;
  const target = 'wasm32-wasip2';
  const sysroot = (await run('rustc', ['--print', 'sysroot'], sources)).trim();
  if (!existsSync(join(sysroot, 'lib/rustlib', target))) await run('rustup', ['target', 'add', target], sources);
  // Cargo locks the folder of a clone against a second build at once.
  const folder = join(guestCache, `target-${createHash('sha256').update(projectRoot).digest('hex').slice(0, 12)}`);
  await run('cargo', ['build', '--release', '--locked', '--target', target, '--target-dir', folder], sources);
  const part = `${made}.${process.pid}`;
  await mkdir(part, { recursive: true });
  const built = join(folder, target, 'release');
  for (const file of await readdir(built)) {
    if (file.endsWith('.wasm')) await copyFile(join(built, file), join(part, file));
  }
  // Another test file was quicker: what it has made is the same.
  await rename(part, made).catch(() => rm(part, { recursive: true }));
  return made;
}

async function rustKey(): Promise<string> {
  const hash = createHash('sha256').update(await run('rustc', ['--version'], sources));
  const files = await readdir(sources, { recursive: true, withFileTypes: true });
  const paths = files.filter((file) => file.isFile() && /\.(rs|toml|lock|wit)$/.test(file.name));
  for (const path of paths.map((file) => join(file.parentPath, file.name)).sort()) {
    hash
      .update(path.slice(sources.length))
      .update('\0')
      .update(await readFile(path));
  }
  return hash.digest('hex').slice(0, 16);
}

async function buildWat(name: WatGuest): Promise<string> {
  const text = await readFile(join(sources, 'wat', `${name}.wat`), 'utf8');
  const folder = join(guestCache, 'wat');
  const path = join(folder, `${name}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}.wasm`);
  return keptFile(path, () => parse(text));
}

function run(command: string, args: string[], cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (data) => {
      out += data;
    });
    child.stderr.on('data', (data) => {
      err += data;
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`${command} ${args.join(' ')} ended with ${code}:\n${err}`)),
    );
  });
}
