/** What a function written in TypeScript may use beyond itself, on every engine that this machine has. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bundleSource } from '../../../cli/bundle.ts';
import { projectRoot } from '../../../errors/project-root.ts';
import type { EngineOptions, WasmEngine, WasmFunction } from '../../../runtime/drivers/wasm/engine.ts';
import { openJcoEngine } from '../../../runtime/drivers/wasm/jco/index.ts';
import { openWasmtimeEngine, wasmtimeAvailable } from '../../../runtime/drivers/wasm/wasmtime/index.ts';
import type { EgressClient } from '../../../runtime/egress/egress.ts';
import { type KeyValueStore, openKeyValueStore } from '../../../runtime/keyvalue/store.ts';
import { egressClient, listen } from '../../support/egress.ts';
import { type ExchangeInit, makeExchange } from '../../support/exchange.ts';
import { componentFile } from '../../support/guests.ts';
import { javaScriptComponent } from '../../support/javascript.ts';

const MiB = 2 ** 20;

function services(name: string, openEngine: (options: EngineOptions) => Promise<WasmEngine>): void {
  const test = suite(`what a function written in TypeScript may use, on ${name}`);
  const closers: (() => unknown)[] = [];
  let folder: string;
  let engine: WasmEngine;
  let store: KeyValueStore;
  let component: string;
  let printed = '';
  let heard: () => void = () => {};

  test.before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skerry-javascript-services-'));
    engine = await openEngine({ cacheDir: folder, cacheKey: Buffer.alloc(32, 7), warn: () => {} });
    store = await openKeyValueStore(join(folder, 'keyvalue'));
    const { source } = await bundleSource(join(projectRoot, 'test/images/build/services-function.ts'));
    component = await javaScriptComponent(source);
  });
  test.before.each(() => {
    printed = '';
  });
  test.after.each(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });
  test.after(async () => {
    await engine?.close();
    await store?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function load(egress: EgressClient = egressClient({})): Promise<WasmFunction> {
    const fn = await engine.load(await componentFile(component), {
      label: 'services@test',
      limits: {
        memoryBytes: 64 * MiB,
        cpuMillicores: 500,
        timeoutMs: 10_000,
        startTimeoutMs: 30_000,
        concurrency: 64,
        maxRequestBytes: 2 ** 30,
        maxResponseBytes: 2 ** 30,
      },
      env: { MODE: 'test' },
      config: { MODE: 'test', API_KEY: 'hunter2' },
      egress,
      keyvalue: store.namespace('services', 16 * MiB),
      reuse: 1,
      output: ({ stream, data }) => {
        printed += `${stream}: ${Buffer.from(data)}`;
        heard();
      },
    });
    closers.push(async () => {
      await fn.close();
      await egress.close();
    });
    return fn;
  }

  async function ask(fn: WasmFunction, target: string, init: ExchangeInit = {}) {
    const { exchange, answer } = makeExchange({ target, deadlineMs: 60_000, ...init });
    const whole = answer.catch(() => null);
    await fn.handle(exchange).catch((error) => {
      exchange.reply.abort(error); // what the gateway does
      throw error;
    });
    const { status, body } = (await whole)!;
    return { status, body, text: body.toString() };
  }

  async function said(expected: string): Promise<void> {
    while (!printed.includes(expected)) {
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
  }

  /** A server on loopback: its `HOST:PORT`. */
  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer(listener);
    closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return `127.0.0.1:${await listen(server)}`;
  }

  const to = (route: string, url: string) => `/${route}?url=${encodeURIComponent(url)}`;

  test('env has the configuration with its secrets, and so has wasi:config', async () => {
    const env = { MODE: 'test', API_KEY: 'hunter2' };
    const { text } = await ask(await load(), '/env');
    assert.equal(JSON.parse(text), { env, secret: 'hunter2', missing: null });
  });

  test('it fetches what is on its allow-list, and reads the answer or passes it on', async () => {
    const host = await serve((request, response) => response.writeHead(203).end(`answer to ${request.url}`));
    const fn = await load(egressClient({ allow: [host] }));
    assert.equal((await ask(fn, to('fetch', `http://${host}/a?b`))).text, 'answer to /a?b');
    const { status, text } = await ask(fn, to('upper', `http://${host}/a`));
    assert.equal([status, text], [203, 'ANSWER TO /A']);
    assert.is((await ask(fn, to('many', `http://${host}/`))).text, Array(8).fill('answer to /').join(' '));
  });

  test('requests one after the other may be more than those at once', async () => {
    const host = await serve((_request, response) => response.end('1'));
    const fn = await load(egressClient({ allow: [host] }));
    assert.is((await ask(fn, to('in-turn', `http://${host}/`))).text, '60 in turn');
  });

  test('an answer streams through: its client has the first piece before the server has written the last', async () => {
    let writing!: (response: ServerResponse) => void;
    const begun = new Promise<ServerResponse>((resolve) => {
      writing = resolve;
    });
    const host = await serve((_request, response) => {
      response.write('first ');
      writing(response);
    });
    const fn = await load(egressClient({ allow: [host] }));
    const { exchange, answer, head } = makeExchange({ target: to('fetch', `http://${host}/`), deadlineMs: 60_000 });
    const handled = fn.handle(exchange);
    assert.is((await head).status, 200);
    (await begun).end('last');
    await handled;
    assert.is((await answer).body.toString(), 'first last');
  });

  test('an answer that it cannot finish is never taken for whole', async () => {
    const host = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('short', () => response.destroy());
    });
    const fn = await load(egressClient({ allow: [host] }));
    for (const route of ['read-later', 'never-closed']) {
      const { exchange, answer } = makeExchange({ target: to(route, `http://${host}/`), deadlineMs: 60_000 });
      const whole = answer.then(
        () => true,
        () => false,
      );
      const failure = await fn.handle(exchange).catch((error) => {
        exchange.reply.abort(error);
        return error;
      });
      assert.match(failure?.code, /FUNCTION_(BAD_ANSWER|ERROR|THREW)/, route);
      assert.not(await whole, route);
    }
  });

  test('a body that is larger than its memory streams through it', async () => {
    const piece = Buffer.alloc(64 * 1024, 'a piece ');
    const body = Array.from({ length: 1600 }, () => piece);
    const answer = await ask(await load(), '/echo', { method: 'POST', body });
    assert.is(answer.body.length, 100 * MiB);
  });

  test("the body of its request streams on to a server, and the server's answer back", async () => {
    const host = await serve((request, response) => request.pipe(response));
    const fn = await load(egressClient({ allow: [host] }));
    const body = Array.from({ length: 40 }, (_, at) => Buffer.alloc(16 * 1024, `${at}`));
    const sent = await ask(fn, to('forward', `http://${host}/`), { method: 'POST', body });
    assert.ok(sent.body.equals(Buffer.concat(body)));
  });

  test('a fetch that is refused throws a TypeError that says what to do, with a body as well as without', async () => {
    const fn = await load(egressClient({ allow: ['127.0.0.1:1'] }));
    const refused =
      'true TypeError: http://elsewhere.test was not fetched: it is not on the allow-list of the function (--allow HOST[:PORT]), or a header of it is refused [HTTP-request-denied]; see the log of the function';
    const body = Buffer.alloc(300_000);
    for (const route of ['fetch', 'post', 'forward']) {
      printed = '';
      const init = route === 'forward' ? { method: 'POST', body } : {};
      assert.is((await ask(fn, to(route, 'http://elsewhere.test/a?token=1'), init)).text, refused, route);
      await said('elsewhere.test port 80 is not on the allow-list of this workload');
      assert.not.match(printed, /token/);
      assert.match(
        (await ask(fn, to(route, 'http://127.0.0.1:1/'), init)).text,
        /^true TypeError: http:\/\/127\.0\.0\.1:1 was not fetched: it refuses connections \[connection-refused\]/,
        route,
      );
    }
    assert.match((await ask(fn, '/invalid')).text, /^true TypeError: (?!NetworkError|.*allow-list)/);
  });

  test('a method that is none, or not for it, is refused and not sent as another', async () => {
    const asked: string[] = [];
    const host = await serve((request, response) => {
      asked.push(request.method!);
      response.end(request.method);
    });
    const fn = await load(egressClient({ allow: [host] }));
    const { text } = await ask(fn, to('methods', `http://${host}/`));
    assert.equal(JSON.parse(text), ['true', 'true', 'true', 'true', 'PURGE', 'true']);
    assert.equal(asked, ['PURGE']);
  });

  test('a password in a URL is neither sent nor logged', async () => {
    const fn = await load(egressClient({ allow: ['127.0.0.1:1'] }));
    for (const host of ['127.0.0.1:1', 'elsewhere.test']) {
      const { text } = await ask(fn, to('fetch', `http://ann:hunter2@${host}/a`));
      assert.match(text, /^true TypeError: the URL for .* has a user name or password/);
      assert.not.match(`${text} ${printed}`, /hunter2|ann/);
    }
  });

  test('a URL of another protocol than HTTP is refused, and says so', async () => {
    const fn = await load(egressClient({ allow: [] }));
    for (const url of ['ftp://example.test/', 'data:text/plain,a', 'file:///etc/passwd']) {
      const { text } = await ask(fn, to('fetch', url));
      assert.match(text, /^true TypeError: (?:ftp|data|file): is not a protocol that can be fetched/);
    }
  });

  test('a fetch that fails says of which kind that was: TLS, a private address, too many at once', async () => {
    const host = await serve((_request, response) => response.end('1'));
    const port = host.split(':')[1];
    const fn = await load(egressClient({ allow: [host, 'inside.test:80'], names: { 'inside.test': [['10.0.0.1']] } }));
    assert.match((await ask(fn, to('fetch', `https://127.0.0.1:${port}/`))).text, /\[TLS-[a-z-]+\]/);
    assert.match(
      (await ask(fn, to('fetch', 'http://inside.test/'))).text,
      /private address .*\[destination-IP-prohibited\]/,
    );
    assert.match(
      (await ask(fn, to('too-many', `http://${host}/`))).text,
      /as many requests .*\[connection-limit-reached\]/,
    );
  });

  test('without an allow-list nothing is fetched, with a body or without', async () => {
    const fn = await load();
    for (const route of ['fetch', 'post']) {
      assert.match((await ask(fn, to(route, 'http://127.0.0.1:1/'))).text, /^true TypeError: .*--allow/, route);
    }
    await said("nothing is on the function's allow-list");
  });

  test('a server that answers before it has the body is heard', async () => {
    const host = await serve((_request, response) => response.writeHead(413).end('too large'));
    const fn = await load(egressClient({ allow: [host] }));
    const { status, text } = await ask(fn, to('post', `http://${host}/`));
    assert.equal([status, text], [413, 'too large']);
  });

  test('when its client leaves, the server of its fetch sees that', async () => {
    let asked!: (response: ServerResponse) => void;
    const arrived = new Promise<ServerResponse>((resolve) => {
      asked = resolve;
    });
    const host = await serve((_request, response) => asked(response));
    const fn = await load(egressClient({ allow: [host] }));
    const { exchange, abort } = makeExchange({ target: to('fetch', `http://${host}/`), deadlineMs: 60_000 });
    const handled = fn.handle(exchange);
    const left = once(await arrived, 'close');
    abort();
    await handled;
    await left;
  });

  test('it stores, lists, counts, batches and deletes keys', async () => {
    const told = JSON.parse((await ask(await load(), '/store')).text);
    assert.equal(told, {
      before: null,
      after: 'hello é',
      exists: true,
      sums: [5, -2],
      many: [['a', '1'], null, ['b', '2']],
      pages: [['a', 'b', 'counter', 'greeting']],
      left: [[]],
    });
  });

  test('a swap that came too late says so and can be tried again; what it stores is there for the next request', async () => {
    const fn = await load();
    assert.equal(JSON.parse((await ask(fn, '/swap')).text), ['cas-failed', 'of somebody else', 'mine']);
    assert.is(String(store.namespace('services', 16 * MiB).get('visits', 'slot')), 'mine');
  });

  test('what the storage refuses is told as an error with its reason', async () => {
    const [name, value, type] = JSON.parse((await ask(await load(), '/refused')).text);
    assert.equal(name, { message: 'no-such-store', payload: { tag: 'no-such-store' } });
    assert.match(value.message, /^the value has 2000000 bytes/);
    assert.equal(value.payload, { tag: 'other', val: value.message });
    assert.match(type.message, /expected a string/);
  });

  test('what it has stored can be the body of an answer, whole or in a stream', async () => {
    assert.is((await ask(await load(), '/stored-stream')).text, 'a stored page');
  });

  test('it logs with level and context', async () => {
    await ask(await load(), '/log');
    await said('stderr: WARN orders: late\n');
    await said('INFO on time\n');
  });

  test.run();
}

services('jco', openJcoEngine);
const native = wasmtimeAvailable();
if (native.available) services('wasmtime', openWasmtimeEngine);
else console.log(`skipped: services of TypeScript functions on wasmtime: ${native.why}`);
