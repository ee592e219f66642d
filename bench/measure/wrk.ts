/** Drives a server with wrk and reads what it says. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Load {
  readonly requestsPerSecond: number;
  readonly requests: number;
  /** Latency that half and 99 % of the requests stay under, in milliseconds. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers that were not 2xx or 3xx, and connections that failed. */
  readonly errors: number;
}

const UNIT_MS: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

function latency(output: string, percent: string): number {
  const found = new RegExp(`^\\s*${percent}%\\s+([\\d.]+)(us|ms|s|m)`, 'm').exec(output);
  if (!found) throw new Error(`wrk said nothing of ${percent}%:\n${output}`);
  return Number(found[1]) * (UNIT_MS[found[2] as string] as number);
}

/** Connections that one wrk thread keeps open. */
export const CONNECTIONS = 32;

/** Drives `url` for `seconds`: each connection sends its next request when it has its answer. `script`: a Lua file for wrk. */
export async function drive(url: string, seconds: number, script?: string, connections = CONNECTIONS): Promise<Load> {
  const lua = script === undefined ? [] : ['-s', script];
  const { stdout } = await run('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...lua, url]);
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(stdout);
  const count = /^\s*(\d+) requests in /m.exec(stdout);
  if (!rate || !count) throw new Error(`wrk gave no rate:\n${stdout}`);
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(stdout);
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout);
  const broken = sockets ? sockets.slice(1).reduce((sum, count) => sum + Number(count), 0) : 0;
  return {
    requestsPerSecond: Number(rate[1]),
    requests: Number(count[1]),
    p50Ms: latency(stdout, '50'),
    p99Ms: latency(stdout, '99'),
    errors: Number(bad?.[1] ?? 0) + broken,
  };
}
