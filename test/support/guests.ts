/** Builds the components of test/guests/ once and says where they are. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parse } from '@bytecodealliance/jco';
import { projectRoot } from '../../errors/project-root.ts';
import type { ComponentFile } from '../../runtime/drivers/wasm/engine.ts';

const sources = join(projectRoot, 'test/guests');

/** Guests written in Rust: crates of the workspace test/guests/. */
const rustGuests = ['behaviours', 'behaviours-p3', 'services'] as const;
export type RustGuest = (typeof rustGuests)[number];
/** Guests written as text: test/guests/wat/NAME.wat. */
export type WatGuest = 'loop-at-start' | 'grow-at-start' | 'foreign-import' | 'no-handler' | 'core-module';
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
function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skerry', 'test-guests');
}

let rust: Promise<string> | undefined;

async function buildRust(name: RustGuest): Promise<string> {
  rust ??= buildWorkspace();
  return join(await rust, `${name.replaceAll('-', '_')}.wasm`);
}

/** Cargo itself knows what is up to date, and locks the folder against a second build at once. */
async function buildWorkspace(): Promise<string> {
  const target = 'wasm32-wasip2';
  const folder = cacheFolder();
  const build = ['build', '--release', '--locked', '--target', target, '--target-dir', folder];
  const sysroot = (await run('rustc', ['--print', 'sysroot'], sources)).trim();
  if (!existsSync(join(sysroot, 'lib/rustlib', target))) await run('rustup', ['target', 'add', target], sources);
  await run('cargo', build, sources);
  return join(folder, target, 'release');
}

async function buildWat(name: WatGuest): Promise<string> {
  const text = await readFile(join(sources, 'wat', `${name}.wat`), 'utf8');
  const folder = join(cacheFolder(), 'wat');
  const path = join(folder, `${name}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}.wasm`);
  if (existsSync(path)) return path;
  await mkdir(folder, { recursive: true });
  const part = `${path}.${process.pid}`;
  await writeFile(part, await parse(text));
  await rename(part, path);
  return path;
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
