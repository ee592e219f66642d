import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../../../errors/project-root.ts';
import { buildErrors } from '../errors.ts';
import { removeLeftovers } from './leftovers.ts';
import { inTurn } from './one-at-a-time.ts';
import type { BuildMessage, BuildProblem, BuildRequest } from './protocol.ts';
import { toolchainKey } from './toolchain.ts';

export interface JavaScriptBuildOptions {
  /** A private folder for the prepared engine (about 35 MB); made if missing. Without it each build takes long. */
  readonly cacheFolder?: string | undefined;
  /** Ends the build, waiting or running. */
  readonly signal?: AbortSignal | undefined;
  /** What the user calls the source, in errors. */
  readonly label?: string | undefined;
  /** Told each step, as a short phrase. */
  readonly progress?: ((step: string) => void) | undefined;
  /** For the run of the source's top level, in milliseconds; 15,000 when left out. */
  readonly timeLimitMs?: number | undefined;
  /** For the run of the source's top level, in bytes; 1 GiB when left out. The engine itself needs some 400 MiB of it. */
  readonly memoryLimitBytes?: number | undefined;
}

const defaultTimeLimitMs = 15_000;
const defaultMemoryLimitBytes = 2 ** 30;
/** A component of a function that keeps little is 13 MB, nearly all of it the engine. */
const sizeLimitBytes = 64 * 2 ** 20;
const mebibyte = 2 ** 20;

const placed = /^function\.js:\d+:\d+: /;

const childPath = join(projectRoot, 'dist', 'componentize-child.js');

/** How much of what the child prints to stderr is kept for the log, in characters. */
const stderrKept = 4000;

/**
 * Names a source together with the toolchain that builds it: equal keys, equally good components. Builds are not
 * reproducible byte for byte (the engine's random state is part of a snapshot), so keep the component that a key gave.
 */
export function javaScriptBuildKey(source: string): string {
  return createHash('sha256').update(toolchainKey).update('\0').update(source).digest('hex');
}

/**
 * Builds a component from one JavaScript module: a bundle with a default export `{ fetch(request, env, context) }` or
 * a listener for `fetch`. It runs in a child process, one build at a time on a node; its top level runs now, once, in
 * a sandbox without network, files or clock. Throws the errors of `images/build/errors.ts`.
 */
export function buildJavaScript(source: string, options: JavaScriptBuildOptions = {}): Promise<Uint8Array> {
  return inTurn(() => build(source, options), options.signal);
}

/** Makes what the first build would wait for; a no-op when the cache has it. */
export async function prepareJavaScriptBuilder(options: JavaScriptBuildOptions): Promise<void> {
  await buildJavaScript('export default { fetch() { return new Response() } };', options);
}

async function build(source: string, options: JavaScriptBuildOptions): Promise<Uint8Array> {
  const { cacheFolder = null } = options;
  if (cacheFolder !== null) {
    await mkdir(cacheFolder, { recursive: true, mode: 0o700 });
    await removeLeftovers(cacheFolder);
  }
  const workFolder = await mkdtemp(join(cacheFolder ?? tmpdir(), 'build-'));
  try {
    await writeFile(join(workFolder, 'function.js'), source);
    const request: BuildRequest = {
      workFolder,
      cacheFolder,
      timeLimitMs: options.timeLimitMs ?? defaultTimeLimitMs,
      memoryLimitBytes: options.memoryLimitBytes ?? defaultMemoryLimitBytes,
      sizeLimitBytes,
    };
    return await readFile(await runChild(request, options));
  } finally {
    await rm(workFolder, { recursive: true, force: true });
  }
}

/** Resolves with the path of the component. */
async function runChild(request: BuildRequest, options: JavaScriptBuildOptions): Promise<string> {
  // A group of its own, so that ending it ends what it started; no environment, since the node's may hold secrets.
  const child = fork(childPath, [], {
    detached: true,
    env: {},
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let answer: BuildMessage | undefined;
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-stderrKept);
  });
  child.on('message', (message: BuildMessage) => {
    if (message.type === 'progress') options.progress?.(message.step);
    else answer = message;
  });
  const cancel = () => killGroup(child);
  options.signal?.addEventListener('abort', cancel);
  try {
    const closed = once(child, 'close'); // rejects when the process cannot be started
    child.send(request, () => {}); // when it has gone already, `close` says so
    const [code, signal] = await closed;
    if (options.signal?.aborted) throw buildErrors.BUILD_CANCELLED();
    if (answer?.type === 'built') return answer.path;
    if (answer?.type === 'problem') throw asError(answer.problem, request, options.label ?? 'the source');
    throw buildErrors.BUILDER_BROKEN(`its process ended (${signal ?? code})`).because(new Error(stderr));
  } finally {
    options.signal?.removeEventListener('abort', cancel);
    if (answer === undefined) killGroup(child); // it may have left behind what it started
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is gone: nothing that it started is left.
  }
}

/** Where the problem has no place in the source, the source itself is named. */
function asError(problem: BuildProblem, request: BuildRequest, label: string): Error {
  switch (problem.kind) {
    case 'failed':
      return buildErrors.BUILD_FAILED(placed.test(problem.problem) ? problem.problem : `${label}: ${problem.problem}`);
    case 'no-handler':
      return buildErrors.BUILD_NO_HANDLER(label);
    case 'timeout':
      return buildErrors.BUILD_TIMEOUT(label, request.timeLimitMs / 1000);
    case 'memory':
      return buildErrors.BUILD_MEMORY(label, Math.round(request.memoryLimitBytes / mebibyte));
    case 'too-large':
      return buildErrors.BUILD_TOO_LARGE(label, Math.ceil(problem.bytes / mebibyte), request.sizeLimitBytes / mebibyte);
    case 'broken':
      return buildErrors.BUILDER_BROKEN(problem.why);
  }
}
