import * as assert from 'uvu/assert';
import { headerValues } from '../../../../support/exchange.ts';
import { ask, type Bench } from './bench.ts';

export function answers(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: what a function receives and answers`);

  test('a function answers', async () => {
    const { fn } = await bench.load('behaviours');
    const answer = await ask(fn, { target: '/hello' });
    assert.is(answer.status, 200);
    assert.is(answer.body.toString(), 'hello');
    assert.equal(headerValues(answer.headers, 'content-type'), ['text/plain']);
    await fn.close();
  });

  test('method, authority, path and query reach the function byte for byte', async () => {
    const { fn } = await bench.load('behaviours');
    for (const target of [
      '/headers',
      '/headers?',
      '/headers?a=1&a=2&b=%2F%2f+%20',
      '/headers/../x//y/%41;p=1?q=a?b/c',
      "/headers?[x]={y}&'z'=|",
    ]) {
      const answer = await ask(fn, { target, method: 'PURGE', authority: 'Shop.example:8443', scheme: 'https' });
      const seen = JSON.parse(answer.body.toString());
      assert.is(seen.target, target);
      assert.is(seen.method, 'PURGE');
      assert.is(seen.authority, 'Shop.example:8443');
      assert.match(seen.scheme, /https/i);
    }
    await fn.close();
  });

  test('request headers reach the function, repeated ones in their order', async () => {
    const { fn } = await bench.load('behaviours');
    const headers = [
      'Accept',
      'a/b',
      'X-One',
      '1',
      'x-one',
      '2',
      'Cookie',
      'k=v; l="w"',
      'X-Latin',
      'caf\xe9',
      'X-Empty',
      '',
    ];
    const answer = await ask(fn, { target: '/headers', headers });
    const seen = (JSON.parse(answer.body.toString()).headers as [string, string][]).flat();
    assert.equal(headerValues(seen, 'accept'), ['a/b']);
    assert.equal(headerValues(seen, 'x-one'), ['1', '2']);
    assert.equal(headerValues(seen, 'cookie'), ['k=v; l="w"']);
    assert.equal(headerValues(seen, 'x-latin'), ['caf\xe9']);
    assert.equal(headerValues(seen, 'x-empty'), ['']);
    await fn.close();
  });

  test('two Set-Cookie headers stay two', async () => {
    const { fn } = await bench.load('behaviours');
    const answer = await ask(fn, { target: '/cookies' });
    assert.equal(headerValues(answer.headers, 'set-cookie'), ['a=1; Path=/', 'b=2; HttpOnly']);
    await fn.close();
  });

  test('any final status can be answered', async () => {
    const { fn } = await bench.load('behaviours');
    for (const status of [200, 201, 204, 304, 404, 418, 503, 599]) {
      assert.is((await ask(fn, { target: `/status/${status}` })).status, status);
    }
    await fn.close();
  });

  test('a hundred requests at once are all answered', async () => {
    const { fn } = await bench.load('behaviours');
    const bodies = await Promise.all(
      Array.from({ length: 100 }, async (_, i) =>
        (await ask(fn, { target: '/echo', method: 'POST', body: `request ${i}` })).body.toString(),
      ),
    );
    assert.equal(
      bodies,
      Array.from({ length: 100 }, (_, i) => `request ${i}`),
    );
    await fn.close();
  });

  test('the statistics count requests and failures', async () => {
    const { fn } = await bench.load('behaviours');
    await ask(fn, { target: '/hello' });
    await ask(fn, { target: '/hello' }).catch(() => {});
    await ask(fn, { target: '/trap' }).catch(() => {});
    const stats = fn.stats();
    assert.is(stats.requests, 3);
    assert.is(stats.failures, 1);
    assert.is(stats.inFlight, 0);
    assert.ok(stats.cpuMs > 0);
    assert.ok(stats.memoryBytes > 0);
    await fn.close();
  });

  test.run();
}
