import * as assert from 'uvu/assert';
import { ask, askInVain, type Bench, idle } from './bench.ts';

/** Requests that are asked for before it is believed that no instance is ever used again. */
const MANY = 200;

export function figures(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: figures`);

  test('requests and failures are counted', async () => {
    const { fn } = await bench.load('behaviours');
    await ask(fn, { target: '/hello' });
    await ask(fn, { target: '/hello' });
    await askInVain(fn, { target: '/trap' });
    const { requests, failures, inFlight } = fn.stats();
    assert.equal({ requests, failures, inFlight }, { requests: 3, failures: 1, inFlight: 0 });
    await fn.close();
  });

  test('each request in an instance of its own is a cold start, and making it took time', async () => {
    const { fn } = await bench.load('behaviours');
    for (let i = 0; i < 3; i++) await ask(fn, { target: '/hello' });
    await askInVain(fn, { target: '/trap' });
    await idle(fn);
    const { coldStarts, warmStarts, startMs } = fn.stats();
    assert.equal({ coldStarts, warmStarts }, { coldStarts: 4, warmStarts: 0 });
    assert.ok(startMs > 0);
    await fn.close();
  });

  test('with reuse, a request in an instance that has served before is a warm start', async () => {
    const { fn } = await bench.load('behaviours', { reuse: MANY });
    let asked = 0;
    while (fn.stats().warmStarts === 0 && asked < MANY) {
      await ask(fn, { target: '/hello' });
      await idle(fn);
      asked++;
    }
    const { coldStarts, warmStarts } = fn.stats();
    assert.ok(coldStarts > 0 && warmStarts > 0, `${coldStarts} cold, ${warmStarts} warm of ${asked}`);
    assert.is(coldStarts + warmStarts, asked);
    await fn.close();
  });

  test('a request that is broken off at its deadline counts with the CPU time that it burned', async () => {
    const { fn } = await bench.load('behaviours');
    await ask(fn, { target: '/hello' });
    // The CPU time of a turn is counted when the turn is over, which the answer does not wait for.
    while (fn.stats().cpuMs === 0) await new Promise((resolve) => setImmediate(resolve));
    const usual = fn.stats().cpuMs;
    await askInVain(fn, { target: '/loop', deadlineMs: 300 });
    await idle(fn);
    while (fn.stats().cpuMs <= 2 * usual) await new Promise((resolve) => setImmediate(resolve));
    const { cpuMs, coldStarts } = fn.stats();
    assert.ok(cpuMs > 2 * usual, `${cpuMs} ms after ${usual} ms`);
    assert.is(coldStarts, 2);
    await fn.close();
  });

  test('the memory told is the most that one instance had, and no more than its limit', async () => {
    const { fn } = await bench.load('behaviours');
    await ask(fn, { target: '/hello' });
    const usual = fn.stats().memoryBytes;
    assert.ok(usual >= 65_536);
    await askInVain(fn, { target: '/alloc' });
    await ask(fn, { target: '/hello' });
    const { memoryBytes } = fn.stats();
    assert.ok(memoryBytes > usual && memoryBytes <= 64 * 2 ** 20, `${memoryBytes} bytes after ${usual}`);
    await fn.close();
  });

  test('a closed function still tells what it counted', async () => {
    const { fn } = await bench.load('behaviours');
    await ask(fn, { target: '/hello' });
    const before = fn.stats();
    await fn.close();
    const { requests, coldStarts, cpuMs, memoryBytes } = fn.stats();
    assert.equal({ requests, coldStarts }, { requests: 1, coldStarts: 1 });
    assert.ok(cpuMs >= before.cpuMs && memoryBytes > 0);
  });

  test('the engine tells what it keeps for instances to come', async () => {
    const { fn } = await bench.load('behaviours');
    await ask(fn, { target: '/hello' });
    await idle(fn);
    // The place of an instance is given back after its last word.
    for (let turn = 0; bench.engine.keptBytes() === 0 && turn < 100_000; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(bench.engine.keptBytes() > 0);
    await fn.close();
  });

  test.run();
}
