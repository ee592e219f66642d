import * as assert from 'uvu/assert';
import { makeExchange } from '../../../../support/exchange.ts';
import { ask, askInVain, type Bench, idle, limits, MiB } from './bench.ts';

export function failures(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: functions that fail`);

  const beforeTheFirstByte: [what: string, target: string, code: RegExp, status: number][] = [
    ['a trap', '/trap', /^FUNCTION_TRAPPED$/, 500],
    ['a panic', '/panic', /^FUNCTION_TRAPPED$/, 500],
    ['an exit with 0', '/exit/0', /^FUNCTION_EXITED$/, 500],
    ['an exit with 3', '/exit/3', /^FUNCTION_EXITED$/, 500],
    ['no answer', '/no-answer', /^FUNCTION_NO_ANSWER$/, 500],
    ['an error as its answer', '/error', /^FUNCTION_ERROR$/, 500],
    ['memory taken without end', '/alloc', /^FUNCTION_MEMORY$/, 500],
    ['recursion without end', '/recurse', /^FUNCTION_TRAPPED$/, 500],
    ['2 MB of headers', '/huge-header', /^FUNCTION_(TRAPPED|BAD_ANSWER)$/, 500],
  ];
  for (const [what, target, code, status] of beforeTheFirstByte) {
    test(`${what} is told by its code, and the next request is answered`, async () => {
      const { fn } = await bench.load('behaviours');
      const { error, started } = await askInVain(fn, { target });
      assert.match(error.code, code);
      assert.is(error.status, status);
      assert.not(started);
      assert.is((await ask(fn, { target: '/hello' })).body.toString(), 'hello');
      await fn.close();
    });
  }

  test('a loop ends at the deadline, while others are answered', async () => {
    const { fn } = await bench.load('behaviours');
    const looping = askInVain(fn, { target: '/loop', deadlineMs: 500 });
    for (let i = 0; i < 10; i++) assert.is((await ask(fn, { target: '/hello' })).status, 200);
    const { error } = await looping;
    assert.is(error.code, 'FUNCTION_DEADLINE');
    assert.is(error.status, 504);
    await fn.close();
  });

  test('more loops than there are threads do not keep others from being answered', async () => {
    const { fn } = await bench.load('behaviours');
    const looping = Array.from({ length: 8 }, () => askInVain(fn, { target: '/loop', deadlineMs: 1500 }));
    assert.is((await ask(fn, { target: '/hello' })).status, 200);
    for (const { error } of await Promise.all(looping)) assert.is(error.code, 'FUNCTION_DEADLINE');
    await fn.close();
  });

  test('a sleeper ends at the deadline', async () => {
    const { fn } = await bench.load('behaviours');
    const { error } = await askInVain(fn, { target: '/sleep/60000', deadlineMs: 100 });
    assert.is(error.code, 'FUNCTION_DEADLINE');
    await idle(fn);
    await fn.close();
  });

  test('a request that is late already is not run', async () => {
    const { fn } = await bench.load('behaviours');
    const { error } = await askInVain(fn, { target: '/hello', deadlineMs: -1 });
    assert.is(error.code, 'FUNCTION_DEADLINE');
    await fn.close();
  });

  test('a request whose body does not come ends at the deadline', async () => {
    const { fn } = await bench.load('behaviours');
    async function* never(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('a start');
      await new Promise(() => {});
    }
    const { error, ended } = await askInVain(fn, { target: '/echo', body: never(), deadlineMs: 100 });
    assert.is(error.code, 'FUNCTION_DEADLINE');
    assert.not(ended);
    await fn.close();
  });

  test('a loop during its start ends at the deadline', async () => {
    const { fn } = await bench.load('loop-at-start');
    const { error } = await askInVain(fn, { target: '/', deadlineMs: 200 });
    assert.is(error.code, 'FUNCTION_DEADLINE');
    await fn.close();
  });

  test('memory taken during its start counts', async () => {
    const { fn } = await bench.load('grow-at-start');
    const { error } = await askInVain(fn, { target: '/' });
    assert.is(error.code, 'FUNCTION_MEMORY');
    await fn.close();
  });

  test('a function that goes past its memory limit fails alone', async () => {
    const { fn } = await bench.load('behaviours', { limits: { ...limits, memoryBytes: 16 * MiB } });
    const answers = Array.from({ length: 6 }, () => ask(fn, { target: '/sleep/50' }));
    const { error } = await askInVain(fn, { target: '/alloc' });
    assert.is(error.code, 'FUNCTION_MEMORY');
    assert.match(error.what, /16 MiB/);
    for (const answer of await Promise.all(answers)) assert.is(answer.status, 200);
    await fn.close();
  });

  for (const [what, target, code] of [
    ['traps in the middle of its body', '/half', 'FUNCTION_TRAPPED'],
    ['sends less than its Content-Length', '/short', 'FUNCTION_BAD_ANSWER'],
    ['sends more than its Content-Length', '/long', 'FUNCTION_BAD_ANSWER'],
    ['returns without finishing its body', '/unfinished', 'FUNCTION_BAD_ANSWER'],
  ] as const) {
    test(`the answer of a function that ${what} is never taken for whole`, async () => {
      const { fn } = await bench.load('behaviours');
      const { error, ended } = await askInVain(fn, { target });
      assert.is(error.code, code);
      assert.is(error.status, 500);
      assert.not(ended);
      await fn.close();
    });
  }

  test('a panic can be read in the output, under the id of its request', async () => {
    const { fn, said } = await bench.load('behaviours');
    const { exchange } = makeExchange({ target: '/panic' });
    await fn.handle(exchange).catch(() => {});
    const piece = await said('a panic of the guest');
    assert.is(piece.stream, 'stderr');
    assert.is(piece.requestId, exchange.id);
    await fn.close();
  });

  test.run();
}
