/** A server as a process group of its own, on a port of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { cacheFolder } from '../../test/support/cache.ts';

export interface Server {
  readonly name: string;
  readonly url: string;
  /** Of its process group. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts a server and waits until it answers. */
export type StartServer = () => Promise<Server>;

/** A server has this long to answer its first request, in milliseconds. */
const START_TIMEOUT_MS = 60_000;

/** A command that scripts/bench.mjs has installed. */
export function peerCommand(name: string): string {
  return join(cacheFolder('peers'), 'bin', name);
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

const groups = new Set<number>();
// However a run ends, none of them outlives it.
process.on('exit', () => {
  for (const group of groups) process.kill(-group, 'SIGKILL');
});

/** Starts a process group. With BENCH_DEBUG set, what it says on stderr is shown. */
export function launch(command: string, args: readonly string[]): { child: ChildProcess; stop(): Promise<void> } {
  const stderr = process.env.BENCH_DEBUG ? 'inherit' : 'ignore';
  // A group of its own: `jco serve` leaves the process that serves behind when it alone is told to end.
  const child = spawn(command, args, { detached: true, stdio: ['ignore', 'ignore', stderr, 'ipc'] });
  const group = child.pid;
  if (group !== undefined) groups.add(group);
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => {
      groups.delete(group as number);
      resolve();
    });
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(group as number), 'SIGTERM');
    await ended;
  };
  return { child, stop };
}

/** Starts a command that serves at `url`. */
export async function serve(
  name: string,
  command: string,
  args: readonly string[],
  url: string,
  cleanup?: () => Promise<void>,
): Promise<Server> {
  const { child, stop } = launch(command, args);
  const stopAll = async () => {
    await stop();
    await cleanup?.();
  };
  try {
    await answers(url, child);
  } catch (error) {
    await stopAll();
    throw error;
  }
  return { name, url, pid: child.pid as number, stop: stopAll };
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  const end = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < end) {
    if (child.exitCode !== null) throw new Error(`the server of ${url} ended with ${child.exitCode}`);
    const ok = await fetch(url).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${url} did not answer in time`);
}
