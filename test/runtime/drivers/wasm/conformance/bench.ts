/** What the conformance tests stand on: one engine for a suite, functions loaded from guests, one line to ask. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Context, suite, type Test } from 'uvu';
import { SkerryError } from '../../../../../errors/skerry-error.ts';
import type {
  EngineOptions,
  FunctionSettings,
  GuestOutput,
  WasmEngine,
  WasmFunction,
} from '../../../../../runtime/drivers/wasm/engine.ts';
import type { Limits } from '../../../../../runtime/workload/revision.ts';
import { type Answer, type ExchangeInit, makeExchange } from '../../../../support/exchange.ts';
import { type Guest, guestComponent, rustMissing } from '../../../../support/guests.ts';
import { noServices } from '../../../../support/services.ts';

export type OpenEngine = (options: EngineOptions) => Promise<WasmEngine>;

/** What an engine can do that the other cannot. */
export interface Features {
  /** Serves wasi:http/handler@0.3.x. */
  readonly p3: boolean;
}

export const MiB = 1 << 20;

export const limits: Limits = {
  memoryBytes: 64 * MiB,
  cpuMillicores: 500,
  timeoutMs: 10_000,
  startTimeoutMs: 30_000,
  concurrency: 64,
  maxRequestBytes: 2 ** 30,
  maxResponseBytes: 2 ** 30,
};

/** A function under test and what its guest printed. */
export interface Loaded {
  readonly fn: WasmFunction;
  readonly printed: GuestOutput[];
  /** Resolves when the guest has printed `text` on either stream. */
  said(text: string): Promise<GuestOutput>;
}

export interface Bench {
  /** A uvu suite that opens the engine before its tests and closes it after them. */
  suite(name: string): Test<Context>;
  readonly engine: WasmEngine;
  readonly options: EngineOptions;
  readonly warnings: string[];
  load(guest: Guest, settings?: Partial<FunctionSettings>): Promise<Loaded>;
}

export function openBench(openEngine: OpenEngine): Bench {
  let engine: WasmEngine | undefined;
  let options: EngineOptions | undefined;
  const warnings: string[] = [];
  return {
    suite(name) {
      const tests = suite(name);
      tests.before(async () => {
        const missing = await rustMissing();
        if (missing) throw new Error(`the guests cannot be built: ${missing}`);
        const cacheDir = await mkdtemp(join(tmpdir(), 'skerry-conformance-'));
        options = { cacheDir, cacheKey: Buffer.alloc(32, 7), warn: (message) => warnings.push(message) };
        engine = await openEngine(options);
      });
      tests.after(async () => {
        await engine?.close();
        if (options) await rm(options.cacheDir, { recursive: true });
      });
      return tests;
    },
    get engine() {
      return engine!;
    },
    get options() {
      return options!;
    },
    warnings,
    async load(guest, settings = {}) {
      const listener = listen();
      const component = await guestComponent(guest);
      const fn = await engine!.load(component, {
        label: `${guest}@test`,
        limits,
        env: {},
        ...noServices(),
        reuse: 1,
        output: listener.output,
        ...settings,
      });
      return { fn, printed: listener.printed, said: listener.said };
    },
  };
}

function listen() {
  const printed: GuestOutput[] = [];
  let waiting: { text: string; resolve: (piece: GuestOutput) => void }[] = [];
  const find = (text: string) => printed.find((piece) => Buffer.from(piece.data).includes(text));
  return {
    printed,
    output(piece: GuestOutput) {
      printed.push({ ...piece, data: Uint8Array.from(piece.data) });
      waiting = waiting.filter(({ text, resolve }) => {
        const found = find(text);
        if (found) resolve(found);
        return !found;
      });
    },
    said(text: string): Promise<GuestOutput> {
      const found = find(text);
      if (found) return Promise.resolve(found);
      return new Promise((resolve) => waiting.push({ text, resolve }));
    },
  };
}

/** Asks the function and waits for the whole answer. */
export async function ask(fn: WasmFunction, init: ExchangeInit): Promise<Answer> {
  const { exchange, answer } = makeExchange(init);
  await fn.handle(exchange);
  return answer;
}

/** Asks the function and waits for its failure; `ended` tells whether the client could take the answer for whole. */
export async function askInVain(
  fn: WasmFunction,
  init: ExchangeInit,
): Promise<{ error: SkerryError; started: boolean; ended: boolean }> {
  const { exchange } = makeExchange(init);
  try {
    await fn.handle(exchange);
  } catch (error) {
    if (error instanceof SkerryError) return { error, started: exchange.reply.started, ended: exchange.reply.ended };
    throw error;
  }
  throw new Error(`${init.target} was answered, and should not have been`);
}

/** Resolves when nothing of the function runs any more. Asks again each turn of the event loop, so it tells no time. */
export async function idle(fn: { stats(): { inFlight: number } }): Promise<void> {
  while (fn.stats().inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
}
