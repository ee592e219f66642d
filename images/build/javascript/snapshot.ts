/** Runs the top level of a function's source inside the engine and keeps the state it leaves: a core module. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openRepeatable, repeatableEnvironment } from '../repeatable.ts';
import { diagnose } from './diagnosis.ts';
import type { SplicedEngine } from './engine.ts';
import { BuildStopped } from './protocol.ts';
import { componentizeFolder, guestModules } from './toolchain.ts';

export interface SnapshotLimits {
  readonly timeMs: number;
  readonly memoryBytes: number;
  /** Of the file that comes out. */
  readonly sizeBytes: number;
}

/** How much of what the source prints while it is built is kept, in bytes. */
const outputKept = 64 * 1024;

/** Printed by `guest/entry.js` when it has come to its end. */
const ready = 'skerry: ready';
const noHandler = 'skerry: no handler';

/**
 * Wizens `source` and returns the path of the module. Throws BuildStopped when the source is at fault.
 * @param folder a private folder, in which the source sees `sources/` only
 * @param codeCache where the engine's native code is kept; an empty string to compile it anew
 */
export async function snapshot(
  engine: SplicedEngine,
  source: string,
  folder: string,
  codeCache: string,
  limits: SnapshotLimits,
): Promise<string> {
  const sources = join(folder, 'sources');
  await mkdir(sources, { recursive: true });
  const modules = { 'initializer.js': engine.initializer, ...guestModules, 'function.js': source };
  for (const [name, text] of Object.entries(modules)) await writeFile(join(sources, name), text);
  const output = join(folder, 'snapshot.wasm');
  const run = await wizen(engine, sources, output, codeCache, limits);
  if (run.timedOut) throw new BuildStopped({ kind: 'timeout' });
  if (run.code !== 0) throw new BuildStopped(diagnose(run.stderr, run.signal));
  if (run.stdout.includes(noHandler)) throw new BuildStopped({ kind: 'no-handler' });
  if (!run.stdout.includes(ready)) {
    const problem = 'the top level of the source waits (`await`) for something that never comes while it is built';
    throw new BuildStopped({ kind: 'failed', problem });
  }
  return output;
}

interface Run {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** Behind stdin, stdout and stderr. */
const REPEATABLE_FD = 3;

async function wizen(
  engine: SplicedEngine,
  sources: string,
  output: string,
  codeCache: string,
  limits: SnapshotLimits,
): Promise<Run> {
  const wizer = await wizerPath();
  const args = ['--allow-wasi', '--inherit-env=true', '--wasm-bulk-memory=true', '--init-func=componentize.wizer'];
  args.push(`--mapdir=/::${sources}`, `-o=${output}`, engine.wasmPath);
  // The source runs in a sandbox that has no limits of its own: the kernel's hold. Data is what a process can write
  // to, so the address space that the sandbox merely reserves does not count. CPU time ends a run whose parent is gone.
  // `env -i` takes away what the shell itself puts into the environment, which the source sees and the snapshot keeps.
  const shell = 'ulimit -c 0; ulimit -d "$1"; ulimit -f "$2"; ulimit -t "$3"; shift 3; exec env -i "$@"';
  const kibibytes = Math.ceil(limits.memoryBytes / 1024);
  const blocks = Math.ceil((4 * limits.sizeBytes) / 512);
  const cpuSeconds = 2 * Math.ceil(limits.timeMs / 1000) + 10;
  // It looks for its configuration at home; the user of a node need not have one.
  const repeatable = await openRepeatable();
  const variables = repeatable ? repeatableEnvironment(REPEATABLE_FD) : {};
  const environment = { ...variables, ...engine.environment, HOME: '/', ...cacheEnvironment(codeCache) };
  const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const command = ['-c', shell, 'sh', kibibytes, blocks, cpuSeconds, ...pairs, wizer, ...args].map(String);
  const child = spawn('/bin/sh', command, {
    stdio: ['pipe', 'pipe', 'pipe', repeatable?.fd ?? 'ignore'],
    env: { PATH: '/usr/bin:/bin' },
    ...(codeCache === '' ? {} : { cwd: codeCache }),
  }) as ChildProcessWithoutNullStreams;
  const stdout = kept(child.stdout);
  const stderr = kept(child.stderr);
  child.stdin.on('error', () => {}); // it may end without reading its arguments; its status says why
  child.stdin.end('--initializer-script-path /initializer.js --strip-path-prefix / /entry.js');
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill('SIGKILL');
  }, limits.timeMs);
  return await new Promise<Run>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout: stdout(), stderr: stderr(), timedOut }));
  }).finally(async () => {
    clearTimeout(timer);
    await repeatable?.close();
  });
}

/**
 * The source sees this environment and the snapshot keeps it, so it names no folder of the machine where that can be
 * avoided: on Linux the cache is found through the working folder.
 */
function cacheEnvironment(codeCache: string): Record<string, string> {
  if (codeCache === '') return {};
  return { XDG_CACHE_HOME: process.platform === 'linux' ? '/proc/self/cwd' : codeCache };
}

function kept(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    if (length < outputKept) chunks.push(chunk);
    length += chunk.length;
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/** componentize-js depends on wizer, which names the binary for this machine. */
async function wizerPath(): Promise<string> {
  const resolve = createRequire(join(componentizeFolder, 'package.json')).resolve;
  return (await import(pathToFileURL(resolve('@bytecodealliance/wizer')).href)).default;
}
