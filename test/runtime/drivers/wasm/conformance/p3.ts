import * as assert from 'uvu/assert';
import { SkerryError } from '../../../../../errors/skerry-error.ts';
import { headerValues } from '../../../../support/exchange.ts';
import { guestComponent } from '../../../../support/guests.ts';
import { ask, askInVain, type Bench, type Features, MiB } from './bench.ts';

export function p3(engine: string, bench: Bench, features: Features): void {
  const test = bench.suite(`${engine}: WASI 0.3`);

  if (!features.p3) {
    test('a WASI 0.3 component is refused at deploy', async () => {
      const component = await guestComponent('behaviours-p3');
      const error = await bench.engine.compile(component).then(
        () => null,
        (thrown) => thrown,
      );
      assert.instance(error, SkerryError);
      assert.is(error.code, 'ENGINE_LACKS_P3');
    });
    test.run();
    return;
  }

  test('a WASI 0.3 function answers', async () => {
    const { fn } = await bench.load('behaviours-p3');
    const answer = await ask(fn, { target: '/hello' });
    assert.is(answer.status, 200);
    assert.is(answer.body.toString(), 'hello');
    assert.equal(headerValues(answer.headers, 'content-type'), ['text/plain']);
    await fn.close();
  });

  test('it receives method, path, query and headers', async () => {
    const { fn } = await bench.load('behaviours-p3');
    const target = '/headers?a=%2F&b';
    const answer = await ask(fn, { target, headers: ['x-one', '1', 'x-one', '2'], authority: 'shop.example' });
    const seen = JSON.parse(answer.body.toString());
    assert.is(seen.method, 'GET');
    assert.is(seen.target, target);
    assert.is(seen.authority, 'shop.example');
    assert.equal(headerValues((seen.headers as [string, string][]).flat(), 'x-one'), ['1', '2']);
    await fn.close();
  });

  test('the header sets that it holds count as its memory', async () => {
    const { fn } = await bench.load('behaviours-p3');
    assert.is((await askInVain(fn, { target: '/hoard' })).error.code, 'FUNCTION_MEMORY');
    await fn.close();
  });

  test('bodies and trailers pass through', async () => {
    const { fn } = await bench.load('behaviours-p3');
    const small = await ask(fn, { target: '/echo', body: 'a small body' });
    assert.is(small.body.toString(), 'a small body');
    const body = Array.from({ length: 100 }, (_, i) => Buffer.alloc(30_000, i));
    const large = await ask(fn, { target: '/echo', body, trailers: ['x-sum', '42'], deadlineMs: 30_000 });
    assert.ok(large.body.equals(Buffer.concat(body)));
    assert.equal(headerValues(large.trailers ?? [], 'x-sum'), ['42']);
    await fn.close();
  });

  test('a large answer arrives whole', async () => {
    const { fn } = await bench.load('behaviours-p3');
    const { body } = await ask(fn, { target: `/big/${8 * MiB}`, deadlineMs: 30_000 });
    assert.is(body.length, 8 * MiB);
    assert.ok(body.every((byte, at) => byte === at % 251));
    await fn.close();
  });

  test('each request gets an instance that nobody used before', async () => {
    const { fn } = await bench.load('behaviours-p3');
    for (let i = 0; i < 3; i++) assert.is((await ask(fn, { target: '/count' })).body.toString(), '1');
    await fn.close();
  });

  test('work after the answer goes on', async () => {
    const { fn, said } = await bench.load('behaviours-p3');
    assert.is((await ask(fn, { target: '/after' })).body.toString(), 'answered');
    await said('after the answer');
    await fn.close();
  });

  for (const [target, code, started] of [
    ['/loop', 'FUNCTION_DEADLINE', false],
    ['/sleep/60000', 'FUNCTION_DEADLINE', false],
    ['/trap', 'FUNCTION_TRAPPED', false],
    ['/alloc', 'FUNCTION_MEMORY', false],
    ['/error', 'FUNCTION_ERROR', false],
    ['/half', 'FUNCTION_TRAPPED', true],
    ['/short', 'FUNCTION_BAD_ANSWER', true],
  ] as const) {
    test(`${target} fails with ${code}`, async () => {
      const { fn } = await bench.load('behaviours-p3');
      const deadlineMs = code === 'FUNCTION_DEADLINE' ? 200 : 10_000;
      const failed = await askInVain(fn, { target, deadlineMs });
      assert.is(failed.error.code, code);
      if (!started) assert.not(failed.started);
      assert.not(failed.ended);
      await fn.close();
    });
  }

  test.run();
}
