/** How long after its deadline a tight loop is answered for, and how long until it has given its core back. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { EngineOptions, WasmEngine, WasmFunction } from '../../runtime/drivers/wasm/engine.ts';
import { limitsOf } from '../../runtime/workload/revision-of.ts';
import { makeExchange } from '../../test/support/exchange.ts';
import { guestComponent } from '../../test/support/guests.ts';
import { noServices } from '../../test/support/services.ts';
import { median } from './statistics.ts';

const deadlineMs = 300;
/** A process that takes less than this share of a core is no longer in the loop. */
const idleShare = 0.3;
const sampleMs = 10;

export interface DeadlineFigures {
  /** Milliseconds after the deadline: median and worst. */
  readonly answered: readonly [number, number];
  readonly stopped: readonly [number, number];
  /** Milliseconds that another function takes to answer while the loop runs: median and worst. */
  readonly others: readonly [number, number];
}

type OpenEngine = (options: EngineOptions) => Promise<WasmEngine>;

/** `rounds` loops on an engine, one after the other, while a second function is asked all the time. */
export async function measureDeadlines(open: OpenEngine, rounds: number): Promise<DeadlineFigures> {
  const cacheDir = await mkdtemp(join(tmpdir(), 'skerry-bench-'));
  const engine = await open({ cacheDir, cacheKey: Buffer.alloc(32, 1), warn: () => {} });
  try {
    const component = await guestComponent('behaviours');
    const limits = limitsOf({}, 'wasm');
    const settings = { label: 'bench@1', limits, env: {}, ...noServices(), reuse: 1, output: () => {} };
    const looping = await engine.load(component, settings);
    const other = await engine.load(component, settings);
    const answered: number[] = [];
    const stopped: number[] = [];
    const others: number[] = [];
    await runOver(looping);
    await timeToAnswer(other);
    for (let round = 0; round < rounds; round++) {
      const loop = runOver(looping);
      let over = false;
      loop.finally(() => {
        over = true;
      });
      while (!over) others.push(await timeToAnswer(other));
      const { deadline, at } = await loop;
      answered.push(at - deadline);
      stopped.push((await idleSince()) - deadline);
    }
    return { answered: summary(answered), stopped: summary(stopped), others: summary(others) };
  } finally {
    await engine.close();
    await rm(cacheDir, { recursive: true });
  }
}

function summary(values: readonly number[]): readonly [number, number] {
  return [median(values), Math.max(...values)];
}

async function runOver(fn: WasmFunction): Promise<{ deadline: number; at: number }> {
  const { exchange } = makeExchange({ target: '/loop', deadlineMs });
  const error = await fn.handle(exchange).then(
    () => null,
    (reason: SkerryError) => reason,
  );
  if (error?.code !== 'FUNCTION_DEADLINE') throw error ?? new Error('a loop came to an end');
  return { deadline: exchange.deadline, at: performance.now() };
}

async function timeToAnswer(fn: WasmFunction): Promise<number> {
  const from = performance.now();
  await fn.handle(makeExchange({ target: '/hello' }).exchange);
  return performance.now() - from;
}

/** When this process has come to rest, to within a sample. */
async function idleSince(): Promise<number> {
  for (;;) {
    const from = performance.now();
    const cpu = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, sampleMs));
    const { user, system } = process.cpuUsage(cpu);
    if ((user + system) / 1000 < idleShare * (performance.now() - from)) return from;
  }
}
