import { availableParallelism } from 'node:os';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../../../errors/skerry-error.ts';
import type { WasmFunction } from '../../../../../runtime/drivers/wasm/engine.ts';
import { makeExchange } from '../../../../support/exchange.ts';
import { ask, askInVain, type Bench, type Features, idle, limits } from './bench.ts';

export function reuse(engine: string, bench: Bench, features: Features): void {
  const test = bench.suite(`${engine}: instances that serve several requests`);
  const count = async (fn: Parameters<typeof ask>[0]) => (await ask(fn, { target: '/count' })).body.toString();

  test('an instance serves as many requests as it may, and is then replaced', async () => {
    const { fn } = await bench.load('behaviours', { reuse: 3 });
    const counts: string[] = [];
    for (let i = 0; i < 7; i++) {
      counts.push(await count(fn));
      await idle(fn);
    }
    assert.equal(counts, ['1', '2', '3', '1', '2', '3', '1']);
    const { coldStarts, warmStarts } = fn.stats();
    assert.equal([coldStarts, warmStarts], [3, 4]);
    await fn.close();
  });

  test('an instance that serves a request is not given another one', async () => {
    const { fn } = await bench.load('behaviours', { reuse: 100 });
    assert.is(await count(fn), '1');
    await idle(fn);
    const { exchange, abort } = makeExchange({ target: '/sleep/600000', deadlineMs: 600_000 });
    const sleeping = fn.handle(exchange);
    assert.is(await count(fn), '1', 'a second instance');
    abort();
    await sleeping;
    await fn.close();
  });

  test('an instance that failed, or was ended, is not used again', async () => {
    const { fn } = await bench.load('behaviours', { reuse: 100 });
    for (const [target, code] of [
      ['/trap', 'FUNCTION_TRAPPED'],
      ['/exit/3', 'FUNCTION_EXITED'],
      ['/loop', 'FUNCTION_DEADLINE'],
      ['/alloc', 'FUNCTION_MEMORY'],
    ] as const) {
      assert.is(await count(fn), '1');
      await idle(fn);
      const { error } = await askInVain(fn, { target, deadlineMs: target === '/loop' ? 50 : 10_000 });
      assert.is(error.code, code);
      await idle(fn);
    }
    assert.is(await count(fn), '1');
    await fn.close();
  });

  test('what it prints is told by the request that it serves', async () => {
    const { fn, printed } = await bench.load('behaviours', { reuse: 100 });
    const ids: string[] = [];
    for (let i = 0; i < 2; i++) {
      const { exchange } = makeExchange({ target: '/log' });
      await fn.handle(exchange);
      ids.push(exchange.id);
      await idle(fn);
    }
    assert.is.not(ids[0], ids[1]);
    assert.equal([...new Set(printed.map((piece) => piece.requestId))], ids);
    await fn.close();
  });

  if (!features.p3) return test.run();

  test('a WASI 0.3 instance serves requests at the same time', async () => {
    const { fn } = await bench.load('behaviours-p3', { reuse: 100 });
    const sleepers = Array.from({ length: 12 }, () => makeExchange({ target: '/sleep/600000', deadlineMs: 600_000 }));
    const sleeping = sleepers.map(({ exchange }) => fn.handle(exchange));
    assert.is((await ask(fn, { target: '/hello' })).status, 200);
    // One that burns CPU is passed over while another thread is free: there may be one for each.
    const most = Math.max(2, availableParallelism());
    const { coldStarts, inFlight } = fn.stats();
    assert.ok(inFlight >= 12 && coldStarts <= most, `${coldStarts} for ${inFlight}`);
    for (const { abort } of sleepers) abort();
    await Promise.all(sleeping);
    assert.is((await ask(fn, { target: '/hello' })).status, 200, 'clients that left do not end it for the others');
    assert.ok(fn.stats().coldStarts <= most, `${fn.stats().coldStarts} after they left`);
    await fn.close();
  });

  test('a WASI 0.3 instance that served its number is replaced', async () => {
    const { fn } = await bench.load('behaviours-p3', { reuse: 2 });
    const counts: string[] = [];
    for (let i = 0; i < 5; i++) {
      counts.push(await count(fn));
      await idle(fn);
    }
    assert.equal(counts, ['1', '2', '1', '2', '1']);
    await fn.close();
  });

  test('a request past its deadline ends alone while its WASI 0.3 instance waits', async () => {
    const { fn } = await bench.load('behaviours-p3', { reuse: 100 });
    const others = sleepers(fn);
    const { error } = await askInVain(fn, { target: '/sleep/600000', deadlineMs: 50 });
    assert.is(error.code, 'FUNCTION_DEADLINE');
    assert.is((await ask(fn, { target: '/hello' })).status, 200);
    assert.equal(others.failures, []);
    others.leave();
    await fn.close();
  });

  test('a WASI 0.3 instance that burns CPU past a deadline ends with all that it serves', async () => {
    const { fn } = await bench.load('behaviours-p3', { reuse: 100 });
    const others = sleepers(fn);
    const { error } = await askInVain(fn, { target: '/loop', deadlineMs: 50 });
    assert.is(error.code, 'FUNCTION_DEADLINE');
    assert.is(await others.first, 'FUNCTION_STOPPED');
    assert.is((await ask(fn, { target: '/hello' })).status, 200);
    others.leave();
    await fn.close();
  });

  test('a WASI 0.3 instance that traps fails every request that it serves', async () => {
    const { fn } = await bench.load('behaviours-p3', { reuse: 100 });
    const others = sleepers(fn);
    assert.is((await askInVain(fn, { target: '/trap' })).error.code, 'FUNCTION_TRAPPED');
    assert.is(await others.first, 'FUNCTION_TRAPPED');
    others.leave();
    await fn.close();
  });

  test('closing a function ends what its shared instances serve', async () => {
    const { fn } = await bench.load('behaviours-p3', { reuse: 100 });
    const others = sleepers(fn);
    await fn.close();
    assert.is(await others.first, 'FUNCTION_STOPPED');
  });

  test.run();
}

/** Requests that sleep, so many that every instance of a function serves some of them. */
function sleepers(fn: WasmFunction) {
  const failures: string[] = [];
  let fail: (code: string) => void = () => {};
  const first = new Promise<string>((resolve) => {
    fail = resolve;
  });
  const asked = Array.from({ length: 2 * Math.max(2, availableParallelism()) }, () => {
    const made = makeExchange({ target: '/sleep/600000', deadlineMs: 600_000 });
    fn.handle(made.exchange).catch((error: SkerryError) => {
      failures.push(error.code);
      fail(error.code);
    });
    return made;
  });
  return {
    failures,
    first,
    leave: () => {
      for (const { abort } of asked) abort();
    },
  };
}

export function cpuTime(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: CPU time`);
  const settings = { limits: { ...limits, cpuTimeMs: 300 } };

  test('a request that burns more CPU than it may fails, long before its deadline', async () => {
    const { fn } = await bench.load('behaviours', settings);
    const { error } = await askInVain(fn, { target: '/loop', deadlineMs: 600_000 });
    assert.is(error.code, 'FUNCTION_CPU');
    assert.is(error.status, 500);
    assert.is((await ask(fn, { target: '/hello' })).status, 200, 'the next one begins anew');
    await fn.close();
  });

  test('to wait costs none of it', async () => {
    const { fn } = await bench.load('behaviours', settings);
    assert.is((await ask(fn, { target: '/sleep/600' })).body.toString(), 'slept');
    await fn.close();
  });

  test.run();
}
