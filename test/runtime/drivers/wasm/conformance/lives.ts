import * as assert from 'uvu/assert';
import { SkerryError } from '../../../../../errors/skerry-error.ts';
import { headerValues, makeExchange } from '../../../../support/exchange.ts';
import { ask, type Bench, idle } from './bench.ts';

export function lives(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: the life of a request`);

  test('a client that leaves ends the work', async () => {
    const { fn } = await bench.load('behaviours');
    const { exchange, abort } = makeExchange({ target: '/sleep/600000', deadlineMs: 600_000 });
    const handled = fn.handle(exchange);
    abort();
    await handled;
    assert.not(exchange.reply.started);
    await idle(fn);
    await fn.close();
  });

  test('a client that leaves in the middle of its answer ends the work', async () => {
    const { fn } = await bench.load('behaviours');
    const { exchange, abort, head } = makeExchange({
      target: '/big/1000000000000',
      replyWindow: 10_000,
      deadlineMs: 600_000,
    });
    const handled = fn.handle(exchange);
    assert.equal(headerValues((await head).headers, 'content-type'), ['application/octet-stream']);
    abort();
    await handled;
    assert.not(exchange.reply.ended);
    await idle(fn);
    await fn.close();
  });

  test('a client that left before the work began is not served', async () => {
    const { fn } = await bench.load('behaviours');
    const { exchange, abort } = makeExchange({ target: '/hello' });
    abort();
    await fn.handle(exchange);
    assert.not(exchange.reply.started);
    await fn.close();
  });

  test('work after the answer goes on, and holds its place until it ends', async () => {
    const { fn, said } = await bench.load('behaviours');
    const { exchange, answer } = makeExchange({ target: '/after' });
    await fn.handle(exchange);
    assert.is((await answer).body.toString(), 'answered');
    assert.is(fn.stats().inFlight, 1);
    assert.is((await said('after the answer')).requestId, exchange.id);
    await idle(fn);
    await fn.close();
  });

  test('work after the answer ends at the deadline', async () => {
    const { fn, printed } = await bench.load('behaviours');
    const answer = await ask(fn, { target: '/after', deadlineMs: 60 });
    assert.is(answer.body.toString(), 'answered');
    await idle(fn);
    assert.not(printed.some((piece) => Buffer.from(piece.data).includes('after the answer')));
    await fn.close();
  });

  test('closing a function ends what still runs', async () => {
    const { fn } = await bench.load('behaviours');
    const { exchange } = makeExchange({ target: '/sleep/600000', deadlineMs: 600_000 });
    const handled = fn.handle(exchange).then(
      () => null,
      (error) => error,
    );
    await fn.close();
    const error = await handled;
    assert.instance(error, SkerryError);
    assert.is(error.code, 'FUNCTION_STOPPED');
    assert.is(fn.stats().inFlight, 0);
    await fn.close();
  });

  test('two functions from one component keep to their own settings', async () => {
    const one = await bench.load('behaviours', { env: { NAME: 'one' } });
    const two = await bench.load('behaviours', { env: { NAME: 'two' } });
    const [a, b] = await Promise.all([ask(one.fn, { target: '/env' }), ask(two.fn, { target: '/env' })]);
    assert.is(JSON.parse(a.body.toString()).env.NAME, 'one');
    assert.is(JSON.parse(b.body.toString()).env.NAME, 'two');
    await one.fn.close();
    assert.is((await ask(two.fn, { target: '/hello' })).status, 200);
    await two.fn.close();
  });

  test.run();
}
