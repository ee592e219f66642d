/** Requests of several routes that come by themselves (an open loop), the same ones for each server that is compared. */
import { Pool } from 'undici';
import { median } from './statistics.ts';

/** A route of a mix: how often it is asked, and what its requests are. */
export interface MixedRoute {
  /** Share of the requests, 0 to 1. */
  readonly share: number;
  /** The path of one request, drawn anew. */
  path(): string;
}

export interface Arrival {
  /** Milliseconds from the beginning. */
  readonly atMs: number;
  readonly path: string;
}

export interface MixedLoad {
  /** Milliseconds from when a request should have been sent to its whole answer. */
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly worstMs: number;
  readonly failed: number;
}

const CONNECTIONS = 256;

function draw(routes: readonly MixedRoute[]): string {
  let left = Math.random();
  for (const route of routes) {
    left -= route.share;
    if (left < 0) return route.path();
  }
  return routes.at(-1)!.path();
}

/** Poisson arrivals at `perSecond` for `seconds`. */
export function drawArrivals(routes: readonly MixedRoute[], perSecond: number, seconds: number): Arrival[] {
  const arrivals: Arrival[] = [];
  for (let atMs = 0; ; ) {
    atMs += (-Math.log(1 - Math.random()) / perSecond) * 1000;
    if (atMs >= seconds * 1000) return arrivals;
    arrivals.push({ atMs, path: draw(routes) });
  }
}

/** Requests a second of the mix that a server answers when `atOnce` are always under way. */
export async function capacityOf(
  origin: string,
  routes: readonly MixedRoute[],
  atOnce: number,
  seconds: number,
): Promise<number> {
  const pool = new Pool(origin, { connections: atOnce });
  const until = performance.now() + seconds * 1000;
  let answered = 0;
  const worker = async () => {
    while (performance.now() < until) {
      await ask(pool, draw(routes));
      answered++;
    }
  };
  const from = performance.now();
  await Promise.all(Array.from({ length: atOnce }, worker));
  const perSecond = (answered / (performance.now() - from)) * 1000;
  await pool.close();
  return perSecond;
}

export async function sendArrivals(origin: string, arrivals: readonly Arrival[]): Promise<MixedLoad> {
  const pool = new Pool(origin, { connections: CONNECTIONS });
  const times: number[] = [];
  let failed = 0;
  const from = performance.now();
  const underway: Promise<void>[] = [];
  for (const { atMs, path } of arrivals) {
    const early = from + atMs - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    underway.push(
      ask(pool, path).then(
        () => {
          times.push(performance.now() - from - atMs);
        },
        () => {
          failed++;
        },
      ),
    );
  }
  await Promise.all(underway);
  await pool.close();
  const meanMs = times.reduce((sum, time) => sum + time, 0) / times.length;
  const worstMs = times.reduce((most, time) => Math.max(most, time), 0);
  return { meanMs, p50Ms: median(times), worstMs, failed };
}

async function ask(pool: Pool, path: string): Promise<void> {
  const { statusCode, body } = await pool.request({ path, method: 'GET' });
  await body.dump();
  if (statusCode !== 200) throw new Error(`${path} was answered ${statusCode}`);
}
