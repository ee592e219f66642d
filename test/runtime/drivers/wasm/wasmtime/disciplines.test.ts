/** The run queue of the native engine: whose guest gets a thread, live. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../../../errors/skerry-error.ts';
import type { FunctionSettings, WasmEngine, WasmFunction } from '../../../../../runtime/drivers/wasm/engine.ts';
import { openWasmtimeEngine } from '../../../../../runtime/drivers/wasm/wasmtime/index.ts';
import { DISCIPLINES, type Discipline } from '../../../../../runtime/scheduler/admission/discipline.ts';
import { type ExchangeInit, makeExchange } from '../../../../support/exchange.ts';
import { guestComponent } from '../../../../support/guests.ts';
import { noServices } from '../../../../support/services.ts';
import { ask, askInVain, idle, limits } from '../conformance/bench.ts';

const test = suite('the run queue');
const cacheDir = await mkdtemp(join(tmpdir(), 'skerry-disciplines-'));
test.after(() => rm(cacheDir, { recursive: true }));
const component = await guestComponent('behaviours');

/** An engine whose guests share one thread. */
async function withOneThread<T>(discipline: Discipline, work: (queue: OneThread) => Promise<T>): Promise<T> {
  const options = { cacheDir, cacheKey: Buffer.alloc(32, 7), warn: () => {}, discipline, threads: 1 };
  const engine = await openWasmtimeEngine(options);
  try {
    return await work(new OneThread(engine));
  } finally {
    await engine.close();
  }
}

class OneThread {
  readonly #engine: WasmEngine;
  /** The names of what was answered or failed, in that order. */
  readonly done: string[] = [];
  readonly #underway: Promise<void>[] = [];

  constructor(engine: WasmEngine) {
    this.#engine = engine;
  }

  load(workload: string, settings: Partial<FunctionSettings> = {}): Promise<WasmFunction> {
    const rest = { limits, env: {}, ...noServices(), reuse: 1, output: () => {} };
    return this.#engine.load(component, { label: `${workload}@1`, workload, ...rest, ...settings });
  }

  /** Asks without waiting for the answer: it is in the queue when this returns. */
  send(name: string, fn: WasmFunction, init: ExchangeInit): void {
    const { exchange } = makeExchange({ deadlineMs: 60_000, ...init });
    const done = () => {
      this.done.push(name);
    };
    this.#underway.push(fn.handle(exchange).then(done, done));
  }

  async all(): Promise<string[]> {
    await Promise.all(this.#underway.splice(0));
    return this.done.splice(0);
  }
}

/** What takes CPU time for many ticks of the clock, and what takes twice that. */
const SHORT = { target: '/burn/60000' };
const LONG = { target: '/burn/120000' };

const ORDERS: Record<Discipline, string> = {
  fcfs: 'busy lone busy busy busy busy',
  slice: 'lone busy busy busy busy busy',
  sjf: 'busy busy busy busy busy lone',
};

for (const discipline of DISCIPLINES) {
  test(`the same load by ${discipline} is done in the order of ${discipline}`, async () => {
    const done = await withOneThread(discipline, async (queue) => {
      const [busy, lone] = [await queue.load('busy'), await queue.load('lone')];
      // What they need is learned by this.
      await ask(busy, SHORT);
      await ask(lone, LONG);
      queue.send('busy', busy, SHORT);
      queue.send('lone', lone, LONG);
      for (let i = 0; i < 4; i++) queue.send('busy', busy, SHORT);
      return queue.all();
    });
    // By time slices the workload with one request gets half of the thread, the other's five share the other half.
    assert.is(done.join(' '), ORDERS[discipline]);
  });

  test(`by ${discipline} the more urgent of two goes first`, async () => {
    const done = await withOneThread(discipline, async (queue) => {
      const patient = await queue.load('patient', { priority: 0 });
      const urgent = await queue.load('urgent', { priority: 9 });
      // Which takes the thread first decides nothing.
      for (let i = 0; i < 3; i++) queue.send('patient', patient, SHORT);
      for (let i = 0; i < 3; i++) queue.send('urgent', urgent, SHORT);
      return queue.all();
    });
    const first = done.filter((name, at) => name === 'urgent' && at < 4).length;
    assert.is(first, 3, done.join(' '));
  });

  test(`by ${discipline} a guest that burns CPU without end is stopped at its deadline, and others are answered`, async () => {
    await withOneThread(discipline, async (queue) => {
      const hogs = await queue.load('hogs');
      const other = await queue.load('other');
      const loops = Array.from({ length: 4 }, (_, i) =>
        askInVain(hogs, { target: '/loop', deadlineMs: 100 + 20 * i }).then(({ error }) => error.code),
      );
      const answer = ask(other, { target: '/hello', deadlineMs: 60_000 });
      assert.equal(new Set(await Promise.all(loops)), new Set(['FUNCTION_DEADLINE']));
      assert.is((await answer).body.toString(), 'hello');
      await idle(hogs);
    });
  });

  test(`by ${discipline} one that waits for the thread is told at its deadline, not when its turn comes`, async () => {
    await withOneThread(discipline, async (queue) => {
      const hog = await queue.load('hog', { priority: 9 });
      const other = await queue.load('other', { priority: 0 });
      const hogs = Array.from({ length: 3 }, () => makeExchange({ target: '/loop', deadlineMs: 600_000 }));
      const ended = hogs.map(({ exchange }) => hog.handle(exchange).catch(() => {}));
      const { error } = await askInVain(other, { target: '/burn/4000000', deadlineMs: 200 });
      assert.is(error.code, 'FUNCTION_DEADLINE');
      assert.is(hog.stats().inFlight, 3, 'the hogs are still at it');
      for (const { abort } of hogs) abort();
      await Promise.all(ended);
      await idle(hog);
    });
  });

  test(`by ${discipline} the limit of a request's CPU time holds`, async () => {
    await withOneThread(discipline, async (queue) => {
      const fn = await queue.load('hog', { limits: { ...limits, cpuTimeMs: 100 } });
      const { error } = await askInVain(fn, { target: '/loop', deadlineMs: 600_000 });
      assert.is(error.code, 'FUNCTION_CPU');
      await idle(fn);
    });
  });

  test(`by ${discipline} a guest that waits gives up its thread`, async () => {
    await withOneThread(discipline, async (queue) => {
      const fn = await queue.load('sleeper');
      const { exchange, abort } = makeExchange({ target: '/sleep/600000', deadlineMs: 600_000 });
      const sleeping = fn.handle(exchange);
      assert.is((await ask(fn, { target: '/hello' })).body.toString(), 'hello');
      abort();
      await sleeping;
      await idle(fn);
    });
  });

  test(`by ${discipline} ten thousand requests wait, and each is answered once`, async () => {
    await withOneThread(discipline, async (queue) => {
      const functions = await Promise.all(['a', 'b', 'c', 'd'].map((name) => queue.load(name)));
      for (let i = 0; i < 10_000; i++) queue.send(String(i), functions[i % 4]!, { target: '/hello' });
      const done = await queue.all();
      assert.is(done.length, 10_000);
      assert.is(new Set(done).size, 10_000);
      for (const fn of functions) {
        await idle(fn);
        assert.equal([fn.stats().requests, fn.stats().failures], [2500, 0]);
      }
    });
  });

  test(`by ${discipline} none starves, however many that are shorter and more urgent keep coming`, async () => {
    await withOneThread(discipline, async (queue) => {
      const patient = await queue.load('patient', { priority: 0 });
      const urgent = await queue.load('urgent', { priority: 9 });
      await ask(patient, SHORT);
      await ask(urgent, { target: '/burn/500' });
      let answered = false;
      const unlucky = ask(patient, { ...SHORT, deadlineMs: 60_000 }).then(() => {
        answered = true;
      });
      // There is always one more that waits.
      const endless = async () => {
        while (!answered) await ask(urgent, { target: '/burn/500', deadlineMs: 60_000 });
      };
      await Promise.all([unlucky, endless(), endless(), endless()]);
    });
  });
}

test('what a request is expected to take, where that is known, comes before what its function took', async () => {
  const done = await withOneThread('sjf', async (queue) => {
    const fn = await queue.load('mixed');
    await ask(fn, SHORT);
    queue.send('first', fn, SHORT);
    queue.send('long', fn, { ...SHORT, expectedUs: 3_000_000 });
    queue.send('short', fn, { ...SHORT, expectedUs: 1000 });
    for (const nonsense of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      queue.send('unknown', fn, { ...SHORT, expectedUs: nonsense });
    }
    return queue.all();
  });
  assert.is(done.at(-1), 'long', done.join(' '));
});

test('revisions of a workload share what is its', async () => {
  const done = await withOneThread('slice', async (queue) => {
    const [one, two] = [await queue.load('busy'), await queue.load('busy')];
    const lone = await queue.load('lone');
    queue.send('busy', one, SHORT);
    queue.send('lone', lone, LONG);
    for (let i = 0; i < 4; i++) queue.send('busy', i % 2 === 0 ? one : two, SHORT);
    return queue.all();
  });
  assert.is(done.join(' '), ORDERS.slice);
});

test('a discipline that is none is refused', async () => {
  const options = { cacheDir, cacheKey: Buffer.alloc(32, 7), warn: () => {}, discipline: 'lifo' as Discipline };
  const error = await openWasmtimeEngine(options).then(
    () => null,
    (thrown: SkerryError) => thrown,
  );
  assert.is(error?.code, 'ENGINE_UNAVAILABLE');
  assert.match(error?.message ?? '', /fcfs, slice or sjf/);
});

test.run();
