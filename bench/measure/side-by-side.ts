/** Servers driven in turn, several rounds, so that what disturbs the machine disturbs all of them. */
import type { Context } from '../row.ts';
import type { Server, StartServer } from '../servers/process.ts';
import { groupCpuUs } from './process-figures.ts';
import { median } from './statistics.ts';
import { drive, type Load } from './wrk.ts';

export interface Driven extends Load {
  /** CPU time of the server itself for each request, in microseconds. */
  readonly cpuUs: number;
}

export interface Result {
  readonly name: string;
  readonly rounds: readonly Driven[];
}

/** Starts all servers, gives them to `work`, and stops them. */
export async function withServers<T>(
  starts: readonly StartServer[],
  work: (servers: readonly Server[]) => Promise<T>,
): Promise<T> {
  const servers: Server[] = [];
  try {
    for (const start of starts) servers.push(await start());
    return await work(servers);
  } finally {
    for (const server of servers) await server.stop();
  }
}

/** The first is the one whose ratio to each other is printed. */
export async function sideBySide(starts: readonly StartServer[], context: Context): Promise<Result[]> {
  return withServers(starts, async (servers) => {
    const results = servers.map(({ name }) => ({ name, rounds: [] as Driven[] }));
    for (const server of servers) await drive(server.url, 1);
    for (let round = 0; round < context.rounds; round++) {
      for (const [i, server] of servers.entries()) results[i]!.rounds.push(await driveCounted(server, context.seconds));
    }
    for (const result of results) context.print(describe(result, results[0]!));
    return results;
  });
}

export async function driveCounted(server: Pick<Server, 'url' | 'pid'>, seconds: number): Promise<Driven> {
  const before = groupCpuUs(server.pid);
  const load = await drive(server.url, seconds);
  return { ...load, cpuUs: (groupCpuUs(server.pid) - before) / load.requests };
}

export interface Ratio {
  readonly median: number;
  /** `1.93x (1.85-2.02)`: the median and the spread of the rounds. */
  readonly text: string;
}

/** The rate of one to that of another, of each round. */
export function ratioOf(one: Result, other: Result): Ratio {
  const ratios = one.rounds.map(({ requestsPerSecond }, i) => requestsPerSecond / other.rounds[i]!.requestsPerSecond);
  return ratio(ratios);
}

export function ratio(ratios: readonly number[]): Ratio {
  const [middle, least, most] = [median(ratios), Math.min(...ratios), Math.max(...ratios)];
  return { median: middle, text: `${middle.toFixed(2)}x (${least.toFixed(2)}-${most.toFixed(2)})` };
}

/** CPU time a request, median of the rounds. */
export function cpuText(result: Result): string {
  return `${median(result.rounds.map(({ cpuUs }) => cpuUs)).toFixed(0)} us`;
}

function describe(result: Result, first: Result): string {
  const of = (value: (load: Driven) => number) => median(result.rounds.map(value));
  const rate = Math.round(of((load) => load.requestsPerSecond));
  const latency = `p50 ${of((load) => load.p50Ms).toFixed(2)} ms  p99 ${of((load) => load.p99Ms).toFixed(2)} ms`;
  const compared = result === first ? '' : `  ${ratioOf(first, result).text}`;
  const errors = result.rounds.reduce((sum, load) => sum + load.errors, 0);
  const failed = errors > 0 ? `  ${errors} ERRORS` : '';
  const cpu = `CPU ${cpuText(result)}`;
  return `  ${String(rate).padStart(7)} req/s  ${latency}  ${cpu.padEnd(11)}  ${result.name}${compared}${failed}`;
}
