/** Runs the user's own compilers. */
import { spawn } from 'node:child_process';
import type { Work } from './builder.ts';
import { builderErrors } from './errors.ts';

export interface Tool {
  /** A program of the PATH, or a path. */
  readonly command: string;
  readonly builder: string;
  /** How it comes onto the machine. */
  readonly install: string;
}

/** Of what a tool writes, kept; in characters. */
const KEPT = { stdout: 64 * 1024 * 1024, stderr: 256 * 1024 };

/**
 * What it wrote to stdout. Throws TOOLCHAIN_MISSING, and TOOLCHAIN_FAILED, after what it wrote to stderr was said.
 * @param env on top of the user's own
 */
export async function runTool(
  { command, builder, install }: Tool,
  args: readonly string[],
  folder: string,
  work: Pick<Work, 'env' | 'say'>,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const child = spawn(command, args, {
    cwd: folder,
    env: { ...work.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] = (said[name] + text).slice(-KEPT[name]);
    });
  }
  const status = await new Promise<string>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ENOENT' ? builderErrors.TOOLCHAIN_MISSING(command, builder, install) : error);
    });
    child.once('close', (code, signal) => resolve(code === null ? `signal ${signal}` : String(code)));
  });
  if (status === '0') return said.stdout;
  work.say(said.stderr.trimEnd() || said.stdout.trimEnd());
  throw builderErrors.TOOLCHAIN_FAILED([command, ...args].join(' ').slice(0, 200), `it ended with status ${status}`);
}
