/** Asks an instance once whether it is well. */
import type { Socket } from 'node:net';
import type { HealthCheck } from './health-check.ts';
import { askOverHttp } from './http-check.ts';
import { endInOneLine } from './one-line.ts';

/** The instance as a check sees it: what kind of sandbox it is makes no difference. */
export interface CheckTarget {
  /** A connection to its loopback; rejects with the system's error. */
  connect(port: number, timeoutMs: number): Promise<Socket>;
  /**
   * Runs a command inside; what it writes comes to `output`. Resolves with its exit status, as a shell tells it; when
   * `signal` aborts it is killed, with what it has started.
   */
  exec(command: readonly string[], output: (data: Uint8Array) => void, signal: AbortSignal): Promise<number>;
}

/** An answer that takes longer is none; in milliseconds. A shell has to be started in it, on a small machine that is busy. */
export const CHECK_MS = 2000;
/** What a command has to end in once it was killed, in milliseconds; it is not waited for longer. */
const KILLED_MS = 1000;
/** Of what a command wrote last, in a message; in characters. */
const LAST_WORDS = 300;
/** A port that nobody takes connections on; all other failures to connect are the node's own. */
const NOT_TAKEN = new Set(['ECONNREFUSED', 'ETIMEDOUT']);

export interface CheckRun {
  readonly check: HealthCheck;
  readonly target: CheckTarget;
  /** The port that the workload listens on. */
  readonly port: number;
  readonly timeoutMs: number;
  /** Ends it; what it resolves with then means nothing. */
  readonly signal: AbortSignal;
}

/** Null: it is well. Else why not, in half a sentence. Rejects when it could not be asked, which says nothing of it. */
export async function runCheck(run: CheckRun): Promise<string | null> {
  const over = new AbortController();
  const end = () => over.abort();
  run.signal.addEventListener('abort', end);
  let late = false;
  // What came while the node itself was busy is read first.
  const timer = setTimeout(() => {
    setImmediate(() => {
      late = true;
      over.abort();
    });
  }, run.timeoutMs);
  try {
    if (run.signal.aborted) end();
    const why = await ask(run, over.signal);
    return late ? `no answer within ${run.timeoutMs} ms${why === null ? '' : ` (${why})`}` : why;
  } finally {
    clearTimeout(timer);
    run.signal.removeEventListener('abort', end);
  }
}

async function ask({ check, target, port, timeoutMs }: CheckRun, signal: AbortSignal): Promise<string | null> {
  if (check.kind === 'command') return runCommand(target, check.command, signal);
  const asked = check.port ?? port;
  const socket = await connection(target, asked, timeoutMs, signal);
  if (typeof socket === 'string') return socket;
  if (check.kind === 'http') return askOverHttp(socket, check.target, signal);
  socket.destroy();
  return null;
}

/** A connection, or why there is none. */
async function connection(
  target: CheckTarget,
  port: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Socket | string> {
  const none = `port ${port} takes no connection`;
  const connecting = target.connect(port, timeoutMs);
  try {
    const socket = await Promise.race([connecting, aborted(signal)]);
    if (socket) return socket;
  } catch (error) {
    if (NOT_TAKEN.has((error as NodeJS.ErrnoException).code ?? '')) return none;
    throw error;
  }
  connecting.then(
    (socket) => socket.destroy(),
    () => {},
  );
  return none;
}

async function runCommand(target: CheckTarget, command: string, signal: AbortSignal): Promise<string | null> {
  let said = Buffer.alloc(0);
  const output = (data: Uint8Array) => {
    // Four bytes a character are enough for each.
    said = Buffer.concat([said, data]).subarray(-4 * LAST_WORDS);
  };
  const running = target.exec(['/bin/sh', '-c', command], output, signal);
  const given = aborted(signal).then(
    () => new Promise<null>((resolve) => setTimeout(resolve, KILLED_MS, null).unref()),
  );
  const status = await Promise.race([running, given]);
  running.catch(() => {});
  if (status === 0) return null;
  const last = endInOneLine(said.toString('utf8'), LAST_WORDS);
  const ended = signal.aborted ? 'the command was killed' : `the command exited with status ${status}`;
  return last === '' ? ended : `${ended}; the last it said: ${last}`;
}

function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}
