import * as assert from 'uvu/assert';
import { makeExchange } from '../../../../support/exchange.ts';
import { ask, askInVain, type Bench, idle, limits, MiB } from './bench.ts';

export function failures(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: functions that fail`);

  // Both engines say the same: code and words.
  const badAnswer = 'the function gave an answer that is not valid HTTP';
  const beforeTheFirstByte: [what: string, target: string, code: string, says: string][] = [
    ['a trap', '/trap', 'FUNCTION_TRAPPED', 'the function trapped: wasm trap: wasm `unreachable` instruction executed'],
    [
      'a panic',
      '/panic',
      'FUNCTION_TRAPPED',
      'the function trapped: wasm trap: wasm `unreachable` instruction executed',
    ],
    [
      'an exit with 0',
      '/exit/0',
      'FUNCTION_EXITED',
      'the function exited with status 0 before its answer was complete',
    ],
    [
      'an exit with 3',
      '/exit/3',
      'FUNCTION_EXITED',
      'the function exited with status 1 before its answer was complete',
    ],
    ['no answer', '/no-answer', 'FUNCTION_NO_ANSWER', 'the function returned without answering'],
    ['an error as its answer', '/error', 'FUNCTION_ERROR', 'internal-error: an error of the guest'],
    ['memory taken without end', '/alloc', 'FUNCTION_MEMORY', 'the function went past its memory limit of 64 MiB'],
    ['recursion without end', '/recurse', 'FUNCTION_TRAPPED', 'the function trapped: '],
    ['2 MB of headers', '/huge-header', 'FUNCTION_TRAPPED', 'total size of fields exceeds limit'],
    ['a status that is not final', '/status/150', 'FUNCTION_BAD_ANSWER', `${badAnswer}: 150 is not a final status`],
    ['a second answer', '/twice', 'FUNCTION_TRAPPED', 'the function trapped: unknown handle index'],
    ['a trap after a part of the body', '/half', 'FUNCTION_TRAPPED', 'wasm `unreachable` instruction executed'],
    ['a short body', '/short', 'FUNCTION_BAD_ANSWER', 'its Content-Length is 100, its body has 10 bytes'],
    ['a long body', '/long', 'FUNCTION_BAD_ANSWER', 'its Content-Length is 4, its body has 10 bytes'],
    ['a body without an end', '/unfinished', 'FUNCTION_BAD_ANSWER', `${badAnswer}: its body was never finished`],
  ];
  for (const [what, target, code, says] of beforeTheFirstByte) {
    test(`${what} is told by its code, and the next request is answered`, async () => {
      const { fn } = await bench.load('behaviours');
      const { error, started, ended } = await askInVain(fn, { target });
      assert.is(error.code, code);
      assert.is(error.status, 500);
      assert.ok(error.what.includes(says), error.what);
      assert.not(started);
      assert.not(ended);
      assert.is((await ask(fn, { target: '/hello' })).body.toString(), 'hello');
      await fn.close();
    });
  }

  test('one that prints without end is stopped at its deadline, its output is bounded, and others are answered', async () => {
    const { fn, printed } = await bench.load('behaviours');
    const chatting = askInVain(fn, { target: '/chatter', deadlineMs: 500 });
    for (let i = 0; i < 10; i++) assert.is((await ask(fn, { target: '/hello' })).status, 200);
    assert.is((await chatting).error.code, 'FUNCTION_DEADLINE');
    await idle(fn);
    const output = Buffer.concat(printed.map((piece) => piece.data)).toString();
    assert.ok(output.length < 70_000, `${output.length} bytes of output`);
    assert.ok(output.endsWith('[skerry] this request printed more than 64 KiB: the rest is dropped\n'));
    await fn.close();
  });

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

  test('all memories and tables of an instance have one limit together', async () => {
    const { fn } = await bench.load('grow-all');
    assert.is((await askInVain(fn, { target: '/' })).error.code, 'FUNCTION_MEMORY');
    await fn.close();
    // A table may come to an end of its own before the limit: the pool of the native engine has places of one size.
    const tables = await bench.load('grow-tables');
    const { error } = await askInVain(tables.fn, { target: '/' });
    assert.match(error.code, /^FUNCTION_(MEMORY|TRAPPED)$/);
    await tables.fn.close();
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

  for (const what of ['headers', 'messages', 'copies', 'methods', 'bodies']) {
    test(`what the host keeps for it counts as memory: ${what}`, async () => {
      const { fn } = await bench.load('behaviours');
      const { error, started } = await askInVain(fn, { target: `/hoard/${what}` });
      assert.is(error.code, 'FUNCTION_MEMORY');
      assert.match(error.what, /64 MiB/);
      assert.not(started);
      assert.is((await ask(fn, { target: '/hello' })).status, 200);
      await fn.close();
    });
  }

  test('what the host no longer keeps for it does not count', async () => {
    const { fn } = await bench.load('behaviours');
    assert.is((await ask(fn, { target: '/hoard/nothing' })).body.toString(), 'kept');
    await fn.close();
  });

  test('a function that breaks off in the middle of a streamed answer is never taken for whole', async () => {
    const { fn } = await bench.load('behaviours');
    const { error, started, ended } = await askInVain(fn, { target: '/half-later' });
    assert.is(error.code, 'FUNCTION_TRAPPED');
    assert.ok(started);
    assert.not(ended);
    await fn.close();
  });

  test('the functions of a backtrace have the names that were written', async () => {
    const { fn, said } = await bench.load('behaviours');
    await askInVain(fn, { target: '/trap' });
    await said('behaviours::faults::trap');
    await askInVain(fn, { target: '/panic' });
    const trace = await said('::process::abort');
    assert.not.match(Buffer.from(trace.data).toString(), /_ZN|_R[A-Z]/);
    await fn.close();
  });

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
