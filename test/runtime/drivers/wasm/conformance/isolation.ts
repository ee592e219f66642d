import * as assert from 'uvu/assert';
import { makeExchange } from '../../../../support/exchange.ts';
import { ask, type Bench, MiB } from './bench.ts';

export function isolation(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: what a function can reach`);

  test('each request gets an instance that nobody used before', async () => {
    const { fn } = await bench.load('behaviours');
    for (let i = 0; i < 5; i++) assert.is((await ask(fn, { target: '/count' })).body.toString(), '1');
    await fn.close();
  });

  test('the environment is what the settings say, no more, and there are no arguments', async () => {
    const { fn } = await bench.load('behaviours', { env: { GREETING: 'hello, "you"', EMPTY: '' } });
    const seen = JSON.parse((await ask(fn, { target: '/env' })).body.toString());
    assert.equal(seen, { env: { GREETING: 'hello, "you"', EMPTY: '' }, args: [] });
    await fn.close();
  });

  test('there are no files', async () => {
    const { fn } = await bench.load('behaviours');
    const seen = JSON.parse((await ask(fn, { target: '/files' })).body.toString());
    assert.equal(seen.preopens, []);
    assert.match(seen.read, /^refused/);
    assert.match(seen.write, /^refused/);
    await fn.close();
  });

  test('there are no sockets', async () => {
    const { fn } = await bench.load('behaviours');
    const said = (await ask(fn, { target: '/connect' })).body.toString();
    assert.match(said, /^refused/);
    // Not the kernel's refusal: nothing was tried.
    assert.not.match(said, /ConnectionRefused/);
    await fn.close();
  });

  test('outgoing HTTP is denied', async () => {
    const { fn } = await bench.load('behaviours');
    const said = (await ask(fn, { target: '/outbound?url=http://127.0.0.1:1/' })).body.toString();
    assert.is(said, 'refused: ErrorCode::HttpRequestDenied');
    await fn.close();
  });

  test('what it prints comes with the stream and the id of its request', async () => {
    const { fn, said } = await bench.load('behaviours');
    const { exchange } = makeExchange({ target: '/log' });
    await fn.handle(exchange);
    const out = await said('a line on stdout');
    const err = await said('a line on stderr');
    assert.is(out.stream, 'stdout');
    assert.is(err.stream, 'stderr');
    assert.is(out.requestId, exchange.id);
    assert.is(err.requestId, exchange.id);
    await fn.close();
  });

  test('what it prints is bounded, and it is told so', async () => {
    const { fn, printed, said } = await bench.load('behaviours');
    const answer = await ask(fn, { target: `/print/${20 * MiB}` });
    assert.is(answer.body.toString(), 'printed');
    await said('dropped');
    const bytes = printed.reduce((sum, piece) => sum + piece.data.byteLength, 0);
    assert.ok(bytes >= 4096 && bytes < MiB, `${bytes} bytes of output`);
    await fn.close();
  });

  test.run();
}
