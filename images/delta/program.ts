/** Runs `skerry-delta`: one at a time, since each has a blob and its base in memory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { projectRoot } from '../../errors/project-root.ts';
import { deltaErrors } from './errors.ts';

const program = join(projectRoot, 'native', 'delta', 'skerry-delta');
/** Longer than what a run may take of a processor; in milliseconds. */
const RUN_MS = 60_000;
/** Runs that may wait: whoever comes later sends the whole blob. */
const MAX_WAITING = 8;

let usable: boolean | null = null;

/** Whether the program was built. */
export function canUseDeltas(): boolean {
  if (usable !== null) return usable;
  try {
    accessSync(program, constants.X_OK);
    usable = true;
  } catch {
    usable = false;
  }
  return usable;
}

let waiting = 0;
let last: Promise<unknown> = Promise.resolve();

/** Throws DELTA_UNAVAILABLE at once when too many wait. */
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (waiting >= MAX_WAITING) return Promise.reject(deltaErrors.DELTA_UNAVAILABLE('too many are being made'));
  waiting++;
  const done = last.then(work).finally(() => {
    waiting--;
  });
  last = done.catch(() => {});
  return done;
}

/**
 * Gives `input` to the program, and what it writes to `take`, which may leave before its end. Throws DELTA_INVALID with what
 * the program says, DELTA_UNAVAILABLE, and what `take` throws.
 */
export function runProgram<T>(
  args: readonly string[],
  input: Uint8Array,
  take: (output: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  return inTurn(async () => {
    const child = spawn(program, args, { env: {}, stdio: ['pipe', 'pipe', 'pipe'] });
    const ended = endOf(child);
    ended.catch(() => {}); // awaited below
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS);
    try {
      child.stdin.on('error', () => {}); // it may end without reading everything; its status says why
      child.stdin.end(input);
      return await take(whole(child.stdout, ended));
    } finally {
      clearTimeout(timer);
      child.kill('SIGKILL');
      await ended.catch(() => {});
    }
  });
}

/** Its end is an end only if the program says so. */
async function* whole(output: AsyncIterable<Uint8Array>, ended: Promise<void>): AsyncGenerator<Uint8Array> {
  yield* output;
  await ended;
}

async function endOf(child: ChildProcess): Promise<void> {
  const said = text(child.stderr!).catch(() => '');
  const [status, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', (error) => reject(deltaErrors.DELTA_UNAVAILABLE(error.message).because(error)));
    child.once('close', (...how) => resolve(how));
  });
  if (status === 0) return;
  const why = (await said).trim().slice(0, 200) || `the program ended (${signal ?? status})`;
  throw deltaErrors.DELTA_INVALID(why);
}
