import * as assert from 'uvu/assert';
import { makeExchange } from '../../../../support/exchange.ts';
import { ask, type Bench, MiB } from './bench.ts';

export function logging(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: wasi:logging`);

  test('each message comes as a line with its level and context, under the id of its request', async () => {
    const { fn, printed, said } = await bench.load('services');
    const { exchange } = makeExchange({ target: '/log' });
    await fn.handle(exchange);
    await said('without a context');
    assert.ok(printed.every((piece) => piece.stream === 'stderr' && piece.requestId === exchange.id));
    const text = Buffer.concat(printed.map((piece) => piece.data)).toString();
    assert.equal(text.split('\n'), [
      'TRACE orders: a message of level trace',
      'DEBUG orders: a message of level debug',
      'INFO orders: a message of level info',
      'WARN orders: a message of level warn',
      'ERROR orders: a message of level error',
      'CRITICAL orders: a message of level critical',
      'INFO a message without a context',
      '',
    ]);
    await fn.close();
  });

  test('what it logs is bounded with what it prints, and it is told so', async () => {
    const { fn, printed, said } = await bench.load('services');
    assert.is((await ask(fn, { target: '/log-much/5000' })).body.toString(), 'logged');
    await said('dropped');
    const bytes = printed.reduce((sum, piece) => sum + piece.data.byteLength, 0);
    assert.ok(bytes >= 4096 && bytes < MiB, `${bytes} bytes of log`);
    await fn.close();
  });

  test.run();
}
