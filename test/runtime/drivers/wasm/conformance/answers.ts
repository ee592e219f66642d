import * as assert from 'uvu/assert';
import { headerValues, makeExchange } from '../../../../support/exchange.ts';
import { ask, type Bench, idle } from './bench.ts';

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
      '/headers/<a>/`b`/"c"?d=<e>&f="g"&h=`i`',
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

  test('a request without Host, as HTTP/1.0 allows, reaches the function as one to localhost', async () => {
    const { fn } = await bench.load('behaviours');
    const answer = await ask(fn, { target: '/headers', authority: '' });
    assert.is(answer.status, 200);
    assert.is(JSON.parse(answer.body.toString()).authority, 'localhost');
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

  test('an answer of some kilobytes goes out whole, so that the client hears its length; a stream does not', async () => {
    const { fn } = await bench.load('behaviours');
    for (const target of ['/hello', '/big/0', '/big/60000', '/print/10000']) {
      assert.ok((await ask(fn, { target })).whole, target);
    }
    assert.not((await ask(fn, { target: '/stream' })).whole);
    await fn.close();
  });

  test('a HEAD request is answered as a GET is, without its body', async () => {
    const { fn } = await bench.load('behaviours');
    for (const target of ['/hello', '/cookies', '/stream', '/big/300000', '/short', '/long', '/unfinished']) {
      const answer = await ask(fn, { method: 'HEAD', target });
      assert.is(answer.status, 200, target);
      assert.is(answer.body.length, 0, target);
      assert.ok(answer.headers.length > 0, target);
    }
    assert.equal(headerValues((await ask(fn, { method: 'HEAD', target: '/long' })).headers, 'content-length'), ['4']);
    await fn.close();
  });

  test('a client that leaves when it has the head of a HEAD request does not disturb the function', async () => {
    const { fn, printed, said } = await bench.load('behaviours');
    const { exchange, answer, abort } = makeExchange({ method: 'HEAD', target: '/insist' });
    const handled = fn.handle(exchange);
    assert.is((await answer).status, 200);
    abort();
    await handled;
    await said('insisted to the end');
    await idle(fn);
    assert.is(fn.stats().failures, 0);
    assert.is(Buffer.concat(printed.map((piece) => piece.data)).toString(), 'insisted to the end\n');
    await fn.close();
  });

  test("statuses and headers that HTTP does not have, or that are the node's to set, are refused to the function", async () => {
    const { fn } = await bench.load('behaviours');
    const statuses = (await ask(fn, { target: '/bad-status' })).body.toString();
    assert.equal(statuses.split('\n'), ['0 was refused', '99 was refused', '1000 was refused', '65535 was refused']);
    const headers = (await ask(fn, { target: '/bad-headers' })).body.toString();
    assert.equal(
      headers.split('\n').map((line) => line.replace(/: Err\(HeaderError::(\w+)\)$/, ' → $1')),
      [
        ...[' → InvalidSyntax', 'two words → InvalidSyntax', 'x-colon: → InvalidSyntax', 'x-line → InvalidSyntax'],
        ...['x-null → InvalidSyntax', 'connection → Forbidden', 'transfer-encoding → Forbidden', 'host → Forbidden'],
        ...['content-length → InvalidSyntax', 'content-length → InvalidSyntax', 'content-length → InvalidSyntax'],
        'twice → InvalidSyntax',
      ],
    );
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

  test.run();
}
