/** The `skerry` command under test: in this process with a terminal of its own, or as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import * as assert from 'uvu/assert';
import { run } from '../../cli/run.ts';
import { projectRoot } from '../../errors/project-root.ts';

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly data?: string;
  readonly stdin?: string | Buffer;
  readonly env?: Record<string, string>;
  /** Ctrl-C. */
  readonly interrupt?: AbortSignal;
  /** Stdout and stderr are a terminal. */
  readonly tty?: boolean;
  /** Told what was printed so far, after each write. */
  readonly onOutput?: (soFar: { stdout: string; stderr: string }) => void;
}

/** Runs one command line in this process. */
export async function skerry(args: readonly string[], options: CliOptions = {}): Promise<Result> {
  const soFar = { stdout: '', stderr: '' };
  const output = (name: 'stdout' | 'stderr') => {
    const stream = new Writable({
      write(chunk, _encoding, done) {
        soFar[name] += chunk.toString();
        options.onOutput?.({ ...soFar });
        done();
      },
    });
    return Object.assign(stream, { isTTY: options.tty === true, columns: 100 });
  };
  const status = await run(args, {
    stdin: Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)], { objectMode: false }),
    stdout: output('stdout'),
    stderr: output('stderr'),
    env: { ...(options.data === undefined ? {} : { SKERRY_DATA: options.data }), ...options.env },
    interrupted: () => options.interrupt ?? new AbortController().signal,
  });
  return { status, ...soFar };
}

/** Runs one command line as a process of its own, from its sources; ended when the test ends it. */
export function spawnSkerry(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const main = join(projectRoot, 'cli/main.ts');
  return spawn(process.execPath, ['--import', 'tsx', main, ...args], {
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

/** The whole of what a process printed, and how it ended. */
export async function collect(child: ChildProcess): Promise<Result & { signal: string | null }> {
  const soFar = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      soFar[name] += text;
    });
  }
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { status: code ?? -1, signal, ...soFar };
}

/** A failure as it is promised: nothing but one line on stderr, ending with its code, without a stack. */
export function assertFailure(result: Result, code: string, status: number, pattern: RegExp): void {
  assert.is(result.status, status, `exit status of: ${result.stderr}`);
  assert.match(result.stderr, /^[^\n]+\n$/, 'one line on stderr');
  assert.ok(result.stderr.endsWith(` [${code}]\n`), `ends with [${code}]: ${result.stderr}`);
  assert.match(result.stderr, /; .+ \[/, 'says what to do');
  assert.not.match(result.stderr, /^\s+at /m, 'no stack');
  assert.match(result.stderr, pattern);
}
