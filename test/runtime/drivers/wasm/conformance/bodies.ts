import * as assert from 'uvu/assert';
import { headerValues, makeExchange } from '../../../../support/exchange.ts';
import { ask, type Bench, MiB } from './bench.ts';

/** Byte N of what the guest's /big sends is N modulo 251. */
function isWhole(body: Buffer, bytes: number): boolean {
  return body.length === bytes && body.every((byte, at) => byte === at % 251);
}

async function* pieces(count: number, size: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield Buffer.alloc(size, i);
}

export function bodies(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: bodies`);

  test('a small body comes back as it was sent, with its content type', async () => {
    const { fn } = await bench.load('behaviours');
    const answer = await ask(fn, {
      target: '/echo',
      headers: ['content-type', 'text/x-test', 'content-length', '11'],
      body: 'a body\r\n\0\xff',
    });
    assert.is(answer.body.toString(), 'a body\r\n\0\xff');
    assert.equal(headerValues(answer.headers, 'content-type'), ['text/x-test']);
    await fn.close();
  });

  test('an empty body is a body', async () => {
    const { fn } = await bench.load('behaviours');
    assert.is((await ask(fn, { target: '/echo', body: '' })).body.length, 0);
    assert.is((await ask(fn, { target: '/echo', method: 'POST', body: null })).body.length, 0);
    await fn.close();
  });

  test('a body of many pieces passes through in order', async () => {
    const { fn } = await bench.load('behaviours');
    const answer = await ask(fn, { target: '/echo', body: pieces(200, 40_000), deadlineMs: 30_000 });
    assert.is(answer.body.length, 8_000_000);
    for (let i = 0; i < 200; i++) {
      assert.is(answer.body[i * 40_000], i & 255);
      assert.is(answer.body[i * 40_000 + 39_999], i & 255);
    }
    await fn.close();
  });

  test('one large piece passes through', async () => {
    const { fn } = await bench.load('behaviours');
    const body = Buffer.alloc(3 * MiB, 'skerry');
    const answer = await ask(fn, { target: '/echo', body, deadlineMs: 30_000 });
    assert.ok(answer.body.equals(body));
    await fn.close();
  });

  test('a function that does not read its body answers all the same', async () => {
    const { fn } = await bench.load('behaviours');
    const { exchange, answer, sent } = makeExchange({
      target: '/discard',
      body: pieces(10_000, 65_536),
      deadlineMs: 30_000,
    });
    await fn.handle(exchange);
    assert.is((await answer).body.toString(), 'did not read');
    assert.ok(sent() < 100 * MiB, `${sent()} bytes were taken`);
    await fn.close();
  });

  test('what a function streams arrives before it is finished', async () => {
    const { fn } = await bench.load('behaviours');
    const { exchange, answer, head } = makeExchange({ target: '/stream' });
    const handled = fn.handle(exchange);
    assert.is((await head).status, 200);
    assert.not(exchange.reply.ended);
    await handled;
    assert.is((await answer).body.toString(), Array.from({ length: 10 }, (_, i) => `line ${i}\n`).join(''));
    await fn.close();
  });

  test('a large answer arrives whole', async () => {
    const { fn } = await bench.load('behaviours');
    const answer = await ask(fn, { target: `/big/${20 * MiB}`, deadlineMs: 30_000 });
    assert.ok(isWhole(answer.body, 20 * MiB));
    await fn.close();
  });

  test('a slow client slows the function down, and loses nothing', async () => {
    const { fn } = await bench.load('behaviours');
    const { exchange, answer, drain } = makeExchange({
      target: `/big/${8 * MiB}`,
      replyWindow: 100_000,
      deadlineMs: 30_000,
    });
    // The sink throws when it is given more than it asked for.
    const draining = setInterval(drain, 1);
    await fn.handle(exchange);
    clearInterval(draining);
    assert.ok(isWhole((await answer).body, 8 * MiB));
    await fn.close();
  });

  test('trailers pass both ways', async () => {
    const { fn } = await bench.load('behaviours');
    const answer = await ask(fn, {
      target: '/trailers',
      body: pieces(2, 10),
      trailers: ['X-Sum', '42', 'x-sum', '43'],
    });
    assert.equal(JSON.parse(answer.body.toString()), [
      ['x-sum', '42'],
      ['x-sum', '43'],
    ]);
    assert.equal(headerValues(answer.trailers ?? [], 'x-checksum'), ['abc123']);
    await fn.close();
  });

  test('a request whose sender breaks off is not taken for whole', async () => {
    const { fn } = await bench.load('behaviours');
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('the first');
      throw new Error('the connection broke');
    }
    const { exchange } = makeExchange({ target: '/echo', body: broken() });
    await fn.handle(exchange).then(
      () => assert.unreachable('it was answered as if it were whole'),
      () => assert.not(exchange.reply.ended),
    );
    await fn.close();
  });

  test.run();
}
