/** What a function written in JavaScript can do and how it fails, on every engine that this machine has. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bundleSource } from '../../../cli/bundle.ts';
import { projectRoot } from '../../../errors/project-root.ts';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import type { EngineOptions, WasmEngine, WasmFunction } from '../../../runtime/drivers/wasm/engine.ts';
import { openJcoEngine } from '../../../runtime/drivers/wasm/jco/index.ts';
import { openWasmtimeEngine, wasmtimeAvailable } from '../../../runtime/drivers/wasm/wasmtime/index.ts';
import { idle } from '../../runtime/drivers/wasm/conformance/bench.ts';
import { type Answer, type ExchangeInit, headerValues, makeExchange } from '../../support/exchange.ts';
import { componentFile } from '../../support/guests.ts';
import { javaScriptComponent } from '../../support/javascript.ts';
import { noServices } from '../../support/services.ts';

const MiB = 2 ** 20;

const source = `
import { getEnvironment } from 'wasi:cli/environment@0.2.10';
import { exit } from 'wasi:cli/exit@0.2.10';
const random = Math.random;
const atTopLevel = random();
const bytes = (text) => new TextEncoder().encode(text);
const stream = (source) => new Response(new ReadableStream(source), { headers: { 'x-form': 'stream' } });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const routes = {
  '/env': (request, env) => Response.json({ env, direct: Object.fromEntries(getEnvironment()) }),
  '/echo': async (request) => new Response((await request.text()).toUpperCase(), { status: 201, headers: { 'x-method': request.method } }),
  '/pass': (request) => new Response(request.body),
  '/url': (request) => new Response(request.url),
  '/stream': () => stream({
    async start(controller) {
      for (let part = 0; part < 3; part++) { controller.enqueue(bytes('part ' + part + ' ')); await sleep(1); }
      controller.close();
    },
  }),
  '/zip': () => new Response(new Blob(['x'.repeat(1000)]).stream().pipeThrough(new CompressionStream('gzip'))),
  '/again': () => { const inner = stream({ start(c) { c.enqueue(bytes('inner')); c.close(); } }); return new Response(inner.body, inner); },
  '/later': (request, env, context) => {
    context.waitUntil(sleep(20).then(() => console.log('the work after the answer')));
    return new Response('at once');
  },
  '/print': () => { console.log('to stdout'); console.error('to stderr'); return new Response('printed'); },
  '/random': () => Response.json([random(), Math.random(), crypto.randomUUID(), performance.now() > 0]),
  '/kept': () => new Response(String(atTopLevel)),
  '/count': () => new Response(String((globalThis.count = (globalThis.count ?? 0) + 1))),
  '/digest': async () => new Response(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes('abc')))),
  '/caught': async () => {
    const broken = new Response(new ReadableStream({ start(c) { c.error(new Error('gone')); } }));
    return new Response(await broken.text().catch((error) => 'caught ' + error.message));
  },
  '/throws': () => { throw new TypeError('no good'); },
  '/rejects': async () => { await sleep(1); throw 'just text'; },
  '/nothing': () => undefined,
  '/never': () => new Promise(() => {}),
  '/stops': async () => { await sleep(1); await new Promise(() => {}); },
  '/stalls': () => stream({ pull: () => new Promise(() => {}) }),
  '/long': () => new Response('hello world', { headers: { 'content-length': '3' } }),
  '/long-stream': () => new Response(new ReadableStream({
    async start(controller) { controller.enqueue(bytes('ab')); await sleep(1); controller.enqueue(bytes('cdef')); controller.close(); },
  }), { headers: { 'content-length': '3' } }),
  '/short': () => new Response('hello', { headers: { 'content-length': '100' } }),
  '/many': () => new Response('hello', { headers: { 'content-length': 'many' } }),
  '/right': () => new Response('hello', { headers: { 'content-length': '5' } }),
  '/pieces': async (request) => {
    let sum = 0;
    const reader = request.body.getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) sum += piece.value.length;
    return new Response(String(sum));
  },
  '/exits': () => exit({ tag: 'err' }),
  '/buffers': () => { const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1)); },
  '/objects': async () => { await sleep(1); const all = []; for (;;) all.push({ text: 'x'.repeat(1000) + all.length }); },
  '/spared': () => { try { return new Response(new Uint8Array(1 << 30)); } catch (error) { return new Response('too much'); } },
  '/breaks': () => stream({
    async start(controller) { controller.enqueue(bytes('half')); await sleep(50); controller.error(new Error('the rest is lost')); },
  }),
  '/pull-breaks': () => { let part = 0; return stream({ pull(controller) { if (part++ > 3) throw new Error('the rest is lost'); controller.enqueue(bytes('half')); } }); },
  '/text-piece': () => stream({ start(controller) { controller.enqueue('text'); controller.close(); } }),
};
export default { fetch: (request, env, context) => routes[new URL(request.url).pathname](request, env, context) };
`;

interface Asked {
  readonly answer: Answer | null;
  readonly error: SkerryError | null;
}

function functions(name: string, openEngine: (options: EngineOptions) => Promise<WasmEngine>): void {
  const test = suite(`a function written in JavaScript, on ${name}`);
  let folder: string;
  let engine: WasmEngine;
  let fn: WasmFunction;
  let printed = '';
  let heard: () => void = () => {};

  async function load(text: string, memoryBytes = 64 * MiB): Promise<WasmFunction> {
    return engine.load(await componentFile(await javaScriptComponent(text)), {
      label: 'javascript@test',
      // The default of the node: it must do for a small function.
      limits: {
        memoryBytes,
        cpuMillicores: 500,
        timeoutMs: 10_000,
        startTimeoutMs: 30_000,
        concurrency: 64,
        maxRequestBytes: 2 ** 30,
        maxResponseBytes: 2 ** 30,
      },
      env: { GREETING: 'hello' },
      ...noServices(),
      // The driver puts the environment into it.
      config: { GREETING: 'hello' },
      reuse: 1,
      output: (piece) => {
        printed += `${piece.stream}: ${Buffer.from(piece.data)}`;
        heard();
      },
    });
  }

  async function ask(target: string, init: ExchangeInit = {}, of: WasmFunction = fn): Promise<Asked> {
    const { exchange, answer } = makeExchange({ target, deadlineMs: 60_000, ...init });
    const whole = answer.catch(() => null);
    try {
      await of.handle(exchange);
    } catch (error) {
      exchange.reply.abort(error as Error); // what the gateway does
      return { answer: null, error: error as SkerryError };
    }
    return { answer: await whole, error: null };
  }

  async function text(target: string, init?: ExchangeInit): Promise<string> {
    const { answer, error } = await ask(target, init);
    if (error) throw error;
    return String(answer?.body);
  }

  async function said(expected: string): Promise<void> {
    while (!printed.includes(expected)) {
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
  }

  test.before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skerry-javascript-'));
    engine = await openEngine({ cacheDir: folder, cacheKey: Buffer.alloc(32, 7), warn: () => {} });
    fn = await load(source);
  });

  test.after(async () => {
    await fn?.close();
    await engine?.close();
    await rm(folder, { recursive: true, force: true });
  });

  test('it answers with status, headers and body, and reads those of the request', async () => {
    const { answer } = await ask('/echo', { body: 'a body' });
    assert.is(answer?.status, 201);
    assert.is(String(answer?.body), 'A BODY');
    assert.equal(headerValues(answer!.headers, 'x-method'), ['POST']);
    assert.is(await text('/url?a=1&b=%20'), 'http://hello.localhost:8080/url?a=1&b=%20');
    assert.is(await text('/pass', { body: 'passed on' }), 'passed on');
  });

  test('it gets the values of --env as its second argument and from WASI, and nothing else', async () => {
    const env = { GREETING: 'hello' };
    assert.equal(JSON.parse(await text('/env')), { env, direct: env });
  });

  test('a body from a stream arrives whole, also through other streams and answers', async () => {
    assert.is(await text('/stream'), 'part 0 part 1 part 2 ');
    assert.is(await text('/again'), 'inner');
    const { answer } = await ask('/zip');
    assert.is(answer?.body.readUInt16BE(0), 0x1f8b);
  });

  test('a piece of a stream arrives before the next is made', async () => {
    const { exchange, answer, head, received } = makeExchange({ target: '/breaks', deadlineMs: 60_000 });
    const whole = answer.catch(() => null);
    const handled = fn.handle(exchange).catch((error: SkerryError) => {
      assert.is(received(), 4, 'the first piece was here before the stream broke');
      exchange.reply.abort(error);
    });
    assert.is((await head).status, 200);
    await handled;
    assert.is(await whole, null);
  });

  test('work given to waitUntil goes on after the answer', async () => {
    assert.is(await text('/later'), 'at once');
    await said('stdout: the work after the answer');
  });

  test('console.log goes to stdout and console.error to stderr', async () => {
    await text('/print');
    await said('stdout: to stdout');
    await said('stderr: to stderr');
  });

  test('random numbers differ from request to request, though the top level ran once', async () => {
    const [one, other] = [JSON.parse(await text('/random')), JSON.parse(await text('/random'))];
    for (const index of [0, 1, 2]) assert.is.not(one[index], other[index]);
    assert.is(one[3], true);
    assert.is(await text('/kept'), await text('/kept'));
  });

  test('each request has an instance of its own', async () => {
    assert.is(await text('/count'), '1');
    assert.is(await text('/count'), '1');
  });

  test('web cryptography works', async () => {
    const { answer } = await ask('/digest');
    assert.match(String(answer?.body.toString('hex')), /^ba7816bf/);
  });

  test('an exception that nothing caught has a code of its own, and is told in the log alone, with the place', async () => {
    const cases = [
      ['/throws', 'Uncaught TypeError: no good'],
      ['/rejects', 'Uncaught just text'],
      ['/nothing', 'something that is not a Response'],
      ['/unknown', 'Uncaught TypeError'],
    ] as const;
    for (const [target, expected] of cases) {
      printed = '';
      const { answer, error } = await ask(target);
      assert.is(answer, null, target);
      assert.is(error?.code, 'FUNCTION_THREW', target);
      assert.is(error?.status, 500, target);
      assert.is(error?.what, 'the function threw an exception that nothing caught', target);
      await said(expected);
    }
    printed = '';
    await ask('/throws');
    await said('function.js:');
  });

  test('memory taken without end is told as that, and one that can do without goes on', async () => {
    for (const target of ['/buffers', '/objects']) {
      const { error } = await ask(target);
      assert.is(error?.code, 'FUNCTION_MEMORY', target);
      assert.match(error!.what, /64 MiB/);
    }
    assert.is(await text('/spared'), 'too much');
  });

  test('a handler whose promise is never settled has not answered', async () => {
    for (const target of ['/never', '/stops']) assert.is((await ask(target)).error?.code, 'FUNCTION_NO_ANSWER', target);
    assert.is((await ask('/never', { method: 'HEAD' })).error?.code, 'FUNCTION_NO_ANSWER');
    assert.is((await ask('/stalls')).error?.code, 'FUNCTION_BAD_ANSWER');
  });

  test('a wrong Content-Length is told as that, with both lengths', async () => {
    const cases = [
      ['/long', 'its Content-Length is 3, its body has 11 bytes'],
      ['/long-stream', 'its Content-Length is 3, its body has 6 bytes'],
      ['/short', 'its Content-Length is 100, its body has 5 bytes'],
    ] as const;
    for (const [target, says] of cases) {
      const { error } = await ask(target);
      assert.is(error?.code, 'FUNCTION_BAD_ANSWER', target);
      assert.ok(error?.what.endsWith(says), error?.what);
    }
    printed = '';
    assert.is((await ask('/many')).error?.code, 'FUNCTION_THREW');
    await said('the Content-Length of the answer is not a number: "many"');
    assert.is(await text('/right'), 'hello');
  });

  test('a body read piece by piece needs 72 MiB, however large it is', async () => {
    const large = await load(source, 72 * MiB);
    const body = Array.from({ length: 3200 }, () => Buffer.alloc(64 * 1024, 'a'));
    const { answer, error } = await ask('/pieces', { method: 'POST', body }, large);
    assert.is(String(answer?.body ?? error?.what), String(200 * MiB));
    await large.close();
  });

  test('an exit without an exception is an exit', async () => {
    assert.is((await ask('/exits')).error?.code, 'FUNCTION_EXITED');
  });

  test('HEAD is answered without a body, whatever the client does when it has the head', async () => {
    for (const target of ['/stream', '/url', '/breaks', '/print']) {
      printed = '';
      const { exchange, answer, abort } = makeExchange({ method: 'HEAD', target, deadlineMs: 60_000 });
      const handled = fn.handle(exchange);
      const { status, body } = await answer;
      abort();
      await handled;
      assert.is(status, 200, target);
      assert.is(body.length, 0, target);
      await idle(fn);
      assert.not(printed.includes('trap'), printed);
    }
  });

  test('a failure in the middle of a body never looks like its end', async () => {
    for (const target of ['/breaks', '/pull-breaks', '/text-piece']) {
      const { answer, error } = await ask(target);
      assert.is(answer, null, target);
      assert.is(error?.code, 'FUNCTION_THREW', target);
    }
  });

  test('a stream that fails where the function catches it does no harm', async () => {
    assert.is(await text('/caught'), 'caught gone');
  });

  test('a listener serves as well, also one that a library registered', async () => {
    const listener = await load(
      'const app = { fetch: () => new Response("from the export") }; addEventListener("fetch", (event) => event.respondWith(new Response("from the listener"))); export default app;',
    );
    assert.is(String((await ask('/', {}, listener)).answer?.body), 'from the listener');
    await listener.close();
  });

  test('a Hono app answers', async () => {
    const hono = await bundleSource(join(projectRoot, 'test/images/build/hono-app.ts'));
    const app = await load(hono.source);
    assert.is(String((await ask('/users/ann?shout=1', {}, app)).answer?.body), '{"greeting":"hello ANN"}');
    assert.is((await ask('/none', {}, app)).answer?.status, 404);
    await app.close();
  });

  test.run();
}

functions('jco', openJcoEngine);
const native = wasmtimeAvailable();
if (native.available) functions('wasmtime', openWasmtimeEngine);
else console.log(`skipped: JavaScript functions on wasmtime: ${native.why}`);
