import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { EGRESS_ERROR_KINDS, type EgressClient, type EgressErrorKind } from '../../../../../runtime/egress/egress.ts';
import { EGRESS_LIMITS } from '../../../../../runtime/egress/limits.ts';
import { openKeyValueStore } from '../../../../../runtime/keyvalue/store.ts';
import { makeAuthority } from '../../../../support/authority.ts';
import { type ClientInit, egressClient, listen } from '../../../../support/egress.ts';
import { headerValues, makeExchange } from '../../../../support/exchange.ts';
import type { RustGuest } from '../../../../support/guests.ts';
import { ask, type Bench, type Features, idle, MiB } from './bench.ts';

type Outbound = ReturnType<Bench['suite']>;

export function outbound(engine: string, bench: Bench, features: Features): void {
  const test = bench.suite(`${engine}: outbound requests`);
  const closers: (() => unknown)[] = [];
  test.after.each(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  /** A server on loopback, and its `HOST:PORT`. */
  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer(listener);
    closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return `127.0.0.1:${await listen(server)}`;
  }

  /** A function that may reach what `init` says, and what it answers at a path. */
  async function load(guest: RustGuest, init: ClientInit) {
    const egress = egressClient(init);
    const loaded = await bench.load(guest, { egress });
    closers.push(async () => {
      await loaded.fn.close();
      await egress.close();
    });
    const say = async (target: string) => (await ask(loaded.fn, { target })).body.toString();
    return { ...loaded, say };
  }

  const guests: RustGuest[] = features.p3 ? ['behaviours', 'behaviours-p3'] : ['behaviours'];
  for (const guest of guests) common(test, guest, serve, load);

  test('the server gets the request as the function made it, and the function the answer as the server did', async () => {
    let seen: IncomingMessage | undefined;
    const host = await serve((request, response) => {
      seen = request;
      response.writeHead(203, ['set-cookie', 'a=1', 'set-cookie', 'b=2', 'x-latin', 'caf\xe9']).end('the body');
    });
    const { say } = await load('behaviours', { allow: [host] });
    const said = await say(`/outbound/header/x-own?url=http://${host}/a%2Fb/../c?d=%20&e`);
    assert.is(seen?.method, 'GET');
    assert.is(seen?.url, '/a%2Fb/../c?d=%20&e');
    assert.is(seen?.headers.host, host);
    assert.is(seen?.headers['x-own'], '1');
    assert.match(said, /^status 203\n/);
    assert.match(said, /set-cookie: a=1\nset-cookie: b=2\n/);
    assert.match(said, /\n\nthe body$/);
  });

  test('headers of a connection are not for a function to set', async () => {
    const host = await serve((_request, response) => response.end());
    const { say } = await load('behaviours', { allow: [host] });
    for (const name of ['host', 'connection', 'transfer-encoding', 'upgrade']) {
      assert.is(await say(`/outbound/header/${name}?url=http://${host}/`), 'refused: HeaderError');
    }
    assert.match(await say(`/outbound/header/expect?url=http://${host}/`), /^refused: .*HttpRequestDenied/);
  });

  test('why a request failed is told to the function by its kind, and to its developer in the log', async () => {
    const { say, said } = await load('behaviours', { allow: ['a.test:80'], names: { 'a.test': [['10.0.0.1']] } });
    await say('/outbound?url=http://a.test/secret?token=1');
    const { data, stream } = await said('destination-IP-prohibited');
    assert.is(stream, 'stderr');
    const line = Buffer.from(data).toString();
    assert.match(line, /^\[skerry\] GET http:\/\/a\.test failed: .*10\.0\.0\.1/);
    assert.not.match(line, /token/, 'what may be a secret is not logged');
    await say('/outbound?url=http://ann:hunter2@a.test/');
    const other = Buffer.from((await said('HTTP-request-URI-invalid')).data).toString();
    assert.match(other, /^\[skerry\] GET http:\/\/…@a\.test failed: …@a\.test is not HOST/);
  });

  test('a function without an allow-list is denied without asking, and told so once for each request', async () => {
    const { say, said, printed } = await load('behaviours', {});
    assert.is(await say('/many/500?url=http://127.0.0.1:1/'), '500 ErrorCode::HttpRequestDenied');
    await said('allow-list');
    assert.is(printed.length, 1);
  });

  test('a server that is not there, and one that breaks off, are told apart', async () => {
    const gone = createServer();
    const refusing = `127.0.0.1:${await listen(gone)}`;
    await new Promise((resolve) => gone.close(resolve));
    const breaking = await serve((request) => request.socket.destroy());
    const cutting = await serve((request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('the first half', () => request.socket.destroy());
    });
    const { say } = await load('behaviours', { allow: [refusing, breaking, cutting] });
    assert.match(await say(`/outbound?url=http://${refusing}/`), /^refused: .*ConnectionRefused/);
    assert.match(await say(`/outbound?url=http://${breaking}/`), /^refused: .*ConnectionTerminated/);
    const cut = await say(`/outbound?url=http://${cutting}/`);
    assert.match(cut, /^status 200, broken after 14 bytes: .*(HttpResponseIncomplete|incomplete HTTP response)/);
    assert.not.match(cut, /backtrace/i, "the node's own stack is not for a function");
  });

  test('every way in which a request can fail has its own error code', async () => {
    const failing = (kind: EgressErrorKind): EgressClient => ({
      deniesAll: false,
      open: () => ({
        send(_request, reply) {
          queueMicrotask(() => reply.error(kind, 'as the test wants it'));
          return { pause() {}, resume() {}, cancel() {} };
        },
        close() {},
      }),
      close: async () => {},
    });
    for (const kind of EGRESS_ERROR_KINDS) {
      const { fn } = await bench.load('behaviours', { egress: failing(kind) });
      const said = (await ask(fn, { target: '/outbound?url=http://a.test/' })).body.toString();
      const name = kind.split('-').map((word) => word[0]?.toUpperCase() + word.slice(1).toLowerCase());
      assert.match(said, new RegExp(`^refused: ErrorCode::${name.join('')}\\b`));
      await fn.close();
    }
  });

  test('a server that does not answer in the time that the function gives it is given up', async () => {
    const host = await serve(() => {});
    const { say } = await load('behaviours', { allow: [host] });
    assert.match(await say(`/outbound/first-byte-timeout/50?url=http://${host}/`), /^refused: .*HttpResponseTimeout/);
  });

  test('trailers of the answer reach the function and its client', async () => {
    const host = await serve((_request, response) => {
      response.writeHead(200, { trailer: 'x-checksum' });
      response.addTrailers({ 'x-checksum': 'abc123' });
      response.end('with trailers');
    });
    const { fn } = await load('behaviours', { allow: [host] });
    const answer = await ask(fn, { target: `/proxy?url=http://${host}/` });
    assert.is(answer.body.toString(), 'with trailers');
    assert.equal(headerValues(answer.trailers ?? [], 'x-checksum'), ['abc123']);
  });

  test('a large body goes out as the server takes it, and arrives whole', async () => {
    const host = await serve((request, response) => {
      const hash = createHash('sha256');
      request.on('data', (piece) => hash.update(piece));
      request.on('end', () => response.end(hash.digest('hex')));
    });
    const { say } = await load('behaviours', { allow: [host] });
    const bytes = 8 * MiB;
    const expected = createHash('sha256').update(Buffer.from(Array.from({ length: bytes }, (_, at) => at % 251)));
    assert.is(await say(`/upload/${bytes}?url=http://${host}/`), `status 200: ${expected.digest('hex')}`);
  });

  test('a server that answers before it has the body is heard, and the function is not kept writing', async () => {
    const host = await serve((_request, response) => {
      response.writeHead(413, { connection: 'close' }).end('too large');
    });
    const { say } = await load('behaviours', { allow: [host] });
    assert.match(
      await say(`/upload/${64 * MiB}?url=http://${host}/`),
      /^(status 413: too large|refused: .*ConnectionTerminated)$/,
    );
  });

  test('a body that the function leaves unfinished is not taken for whole', async () => {
    let closed!: (whole: boolean) => void;
    const seen = new Promise<boolean>((resolve) => {
      closed = resolve;
    });
    const host = await serve((request, response) => {
      request.on('close', () => closed(request.complete));
      request.on('end', () => response.end('whole'));
      request.resume();
    });
    const { say } = await load('behaviours', { allow: [host] });
    assert.match(await say(`/unfinished-upload?url=http://${host}/`), /^refused: /);
    assert.is(await seen, false);
  });

  test('one request may make so many outbound ones and no more', async () => {
    let asked = 0;
    const host = await serve((_request, response) => {
      asked++;
      response.end('ok');
    });
    const { say } = await load('behaviours', { allow: [host] });
    const most = EGRESS_LIMITS.requestsPerExchange;
    const said = await say(`/many/${most + 44}?url=http://${host}/`);
    assert.is(said, `44 ErrorCode::ConnectionLimitReached, ${most} ok`);
    assert.is(asked, most);
    assert.is(await say(`/many/1?url=http://${host}/`), '1 ok', 'the next request starts anew');
  });

  test('10,000 outbound requests of many clients are all answered, each with its own', async () => {
    const host = await serve((request, response) => response.end(request.url));
    const { fn } = await load('behaviours', { allow: [host] });
    let next = 0;
    let answered = 0;
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        while (next < 100) {
          const path = `/of-${next++}`;
          const { body } = await ask(fn, { target: `/many/100?url=http://${host}${path}` });
          assert.is(body.toString(), `100 ${path}`);
          answered += 100;
        }
      }),
    );
    assert.is(answered, 10_000);
    await idle(fn);
  });

  if (features.p3) {
    test('of requests that share an instance, one that ends takes nothing from the others', async () => {
      const gates: (() => void)[] = [];
      let arrived: () => void = () => {};
      const host = await serve((_request, response) => {
        gates.push(() => response.end('ok'));
        arrived();
      });
      const asked = (count: number) =>
        new Promise<void>((resolve) => {
          arrived = () => gates.length >= count && resolve();
          arrived();
        });
      const folder = mkdtempSync(join(tmpdir(), 'skerry-outbound-'));
      const store = await openKeyValueStore(folder);
      closers.push(async () => {
        await store.close();
        rmSync(folder, { recursive: true });
      });
      const egress = egressClient({ allow: [host] });
      const keyvalue = store.namespace('shop', MiB);
      const { fn } = await bench.load('behaviours-p3', { egress, keyvalue, reuse: 1000 });
      closers.push(async () => {
        await fn.close();
        await egress.close();
      });
      const long = ask(fn, { target: `/twice?url=http://${host}/` });
      await asked(1);
      // Begins later, and so that the long one sends again while it is there.
      const short = ask(fn, { target: `/outbound?url=http://${host}/` });
      await asked(2);
      gates[0]?.();
      await asked(3);
      gates[1]?.();
      assert.match((await short).body.toString(), /^status 200/);
      gates[2]?.();
      assert.is((await long).body.toString(), 'status 200\n\nok\nstatus 200\n\nok\n1');
    });
  }

  test('a dozen functions that wait for another function of the node are all answered', async () => {
    const inner = await bench.load('behaviours');
    let waiting = 0;
    let allWait!: () => void;
    const full = new Promise<void>((resolve) => {
      allWait = resolve;
    });
    const host = await serve(async (_request, response) => {
      if (++waiting === 12) allWait();
      await full;
      response.end((await ask(inner.fn, { target: '/hello' })).body);
    });
    const { say } = await load('behaviours', { allow: [host] });
    const said = await Promise.all(Array.from({ length: 12 }, () => say(`/many/1?url=http://${host}/`)));
    assert.equal(new Set(said), new Set(['1 hello']));
    await inner.fn.close();
  });

  test('a huge set of headers is refused, and the function after it is served', async () => {
    const host = await serve((_request, response) => response.end('ok'));
    const { fn, say } = await load('behaviours', { allow: [host] });
    assert.match(await say(`/outbound/headers/40?url=http://${host}/`), /^refused: .*HttpRequestHeaderSectionSize/);
    const failed = await ask(fn, { target: `/outbound/headers/2000?url=http://${host}/` }).then(
      () => 'answered',
      (error) => error.code,
    );
    assert.is(failed, 'FUNCTION_TRAPPED');
    assert.is(await say(`/many/1?url=http://${host}/`), '1 ok');
  });

  test('an answer with a huge set of headers is refused', async () => {
    const host = await serve((_request, response) => {
      for (let at = 0; at < 90; at++) response.setHeader(`x-${at}`, 'h'.repeat(1000));
      response.end('ok');
    });
    const { say } = await load('behaviours', { allow: [host] });
    assert.match(await say(`/outbound?url=http://${host}/`), /^refused: .*HttpResponseHeaderSectionSize/);
  });

  test('an answer without end is cut at what one request may receive', async () => {
    const host = await serve((_request, response) => flood(response));
    const { say } = await load('behaviours', { allow: [host] });
    const said = await say(`/download?url=http://${host}/`);
    const bytes = Number(
      /^broken after (\d+) bytes: .*(HttpResponseBodySize|body size exceeds limit)/.exec(said)?.[1] ?? Number.NaN,
    );
    assert.ok(bytes > 0 && bytes <= EGRESS_LIMITS.responseBytesPerExchange, said);
  });

  test.run();
}

/** What functions of WASI 0.2 and 0.3 have in common. */
function common(
  test: Outbound,
  guest: RustGuest,
  serve: (listener: RequestListener) => Promise<string>,
  load: (
    guest: RustGuest,
    init: ClientInit,
  ) => Promise<Awaited<ReturnType<Bench['load']>> & { say(target: string): Promise<string> }>,
): void {
  test(`${guest}: a destination on the allow-list is reached, another one is not`, async () => {
    const host = await serve((_request, response) => response.end('reached'));
    const other = await serve((_request, response) => response.end('reached'));
    const { say } = await load(guest, { allow: [host] });
    assert.match(await say(`/outbound?url=http://${host}/`), /^status 200\n[\s\S]*\nreached$/);
    assert.match(await say(`/outbound?url=http://${other}/`), /^refused: .*HttpRequestDenied/);
    assert.match(await say('/outbound?url=http://elsewhere.test/'), /^refused: .*HttpRequestDenied/);
  });

  test(`${guest}: without an allow-list nothing is reached`, async () => {
    const { say } = await load(guest, {});
    assert.match(await say('/outbound?url=http://127.0.0.1:1/'), /^refused: .*HttpRequestDenied/);
  });

  test(`${guest}: an allowed name that leads to a private address is refused`, async () => {
    const { say } = await load(guest, { allow: ['a.test:80'], names: { 'a.test': [['192.168.1.1'], ['127.0.0.1']] } });
    assert.match(await say('/outbound?url=http://a.test/'), /^refused: .*DestinationIpProhibited/);
    assert.match(await say('/outbound?url=http://a.test/'), /^refused: .*DestinationIpProhibited/);
    assert.match(await say('/outbound?url=http://b.test/'), /^refused: .*HttpRequestDenied/);
  });

  test(`${guest}: a name that does not exist is told as such`, async () => {
    const { say } = await load(guest, { allow: ['missing.test'] });
    assert.match(await say('/outbound?url=http://missing.test/'), /^refused: .*DnsError/);
  });

  test(`${guest}: a redirect is handed to the function, not followed`, async () => {
    let asked = 0;
    const host = await serve((request, response) => {
      asked++;
      response.writeHead(302, { location: `http://${request.headers.host}/elsewhere` }).end();
    });
    const { say } = await load(guest, { allow: [host] });
    assert.match(await say(`/outbound?url=http://${host}/`), /^status 302\n/);
    assert.is(asked, 1);
  });

  test(`${guest}: TLS is verified`, async () => {
    const authority = makeAuthority();
    const folder = mkdtempSync(join(tmpdir(), 'skerry-outbound-'));
    const file = join(folder, 'authority.pem');
    writeFileSync(file, authority.cert);
    const server = createTlsServer(authority.issue(['a.test']), (_request, response) => response.end('in private'));
    const port = await listen(server);
    const reach = { allow: [`a.test:${port}`, `127.0.0.1:${port}`], names: { 'a.test': [['127.0.0.1']] } };
    const trusting = await load(guest, { ...reach, env: { SSL_CERT_FILE: file } });
    assert.match(await trusting.say(`/outbound?url=https://a.test:${port}/`), /\n\nin private$/);
    const other = await load(guest, reach);
    assert.match(await other.say(`/outbound?url=https://a.test:${port}/`), /^refused: .*TlsCertificateError/);
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });

  test(`${guest}: bodies stream through a function both ways, as fast as both sides take them`, async () => {
    const host = await serve((request, response) => request.pipe(response));
    const { fn } = await load(guest, { allow: [host] });
    const piece = Buffer.alloc(64 * 1024, 'streamed ');
    // What fits into the windows on the way: a function of WASI 0.2 writes all of it before it reads.
    const count = guest === 'behaviours' ? 2 : 200;
    const body = Array.from({ length: count }, () => piece);
    const answer = await ask(fn, { target: `/proxy?url=http://${host}/`, body });
    assert.is(answer.status, 200);
    assert.ok(answer.body.equals(Buffer.concat(body)));
  });

  test(`${guest}: a client that does not read holds the server back`, async () => {
    let written = 0;
    let stalled!: () => void;
    const atRest = new Promise<void>((resolve) => {
      stalled = resolve;
    });
    const host = await serve((_request, response) => flood(response, (bytes) => (written = bytes), stalled));
    const { fn } = await load(guest, { allow: [host] });
    const { exchange, abort, head, received } = makeExchange({
      target: `/proxy?url=http://${host}/`,
      replyWindow: 1000,
      deadlineMs: 60_000,
    });
    const handled = fn.handle(exchange);
    await head;
    await atRest;
    assert.ok(received() < 2 * MiB, `${received()} bytes passed a client that takes 1000`);
    assert.ok(written < 64 * MiB, `${written} bytes were taken from the server`);
    abort();
    await handled;
    await idle(fn);
  });

  test(`${guest}: when the client leaves, the server sees that nobody waits`, async () => {
    let asked!: (response: ServerResponse) => void;
    const arrived = new Promise<ServerResponse>((resolve) => {
      asked = resolve;
    });
    const host = await serve((_request, response) => asked(response));
    const { fn } = await load(guest, { allow: [host] });
    const { exchange, abort } = makeExchange({ target: `/outbound?url=http://${host}/`, deadlineMs: 60_000 });
    const handled = fn.handle(exchange);
    const response = await arrived;
    const left = once(response, 'close');
    abort();
    await handled;
    await left;
    await idle(fn);
  });

  test(`${guest}: at its deadline a function is ended, and with it what it waits for`, async () => {
    let asked!: (response: ServerResponse) => void;
    const arrived = new Promise<ServerResponse>((resolve) => {
      asked = resolve;
    });
    const host = await serve((_request, response) => asked(response));
    const { fn } = await load(guest, { allow: [host] });
    const failed = ask(fn, { target: `/outbound?url=http://${host}/`, deadlineMs: 300 }).then(
      (answer) => answer.body.toString(),
      (error) => error.code,
    );
    const left = once(await arrived, 'close');
    // The client of the request may give up a moment before the function is ended.
    assert.match(await failed, /^(FUNCTION_DEADLINE|refused: .*HttpResponseTimeout)$/);
    await left;
  });

  test(`${guest}: an answer that the function drops is not read to its end`, async () => {
    let asked!: (response: ServerResponse) => void;
    const arrived = new Promise<ServerResponse>((resolve) => {
      asked = resolve;
    });
    const host = await serve((_request, response) => {
      flood(response);
      asked(response);
    });
    const { fn } = await load(guest, { allow: [host] });
    const { exchange, abort } = makeExchange({ target: `/drop/600000?url=http://${host}/`, deadlineMs: 600_000 });
    const handled = fn.handle(exchange);
    await once(await arrived, 'close');
    assert.is(fn.stats().inFlight, 1, 'the function itself goes on');
    abort();
    await handled;
    await idle(fn);
  });

  test(`${guest}: at once it may have so many under way`, async () => {
    const host = await serve((_request, response) => response.end('ok'));
    const { say } = await load(guest, { allow: [host] });
    const most = EGRESS_LIMITS.concurrentPerExchange;
    assert.is(
      await say(`/at-once/${most + 8}?url=http://${host}/`),
      `8 ErrorCode::ConnectionLimitReached, ${most} answered`,
    );
  });
}

/** Writes without end; `stalled` is called when nothing more is taken for a while. */
function flood(
  response: ServerResponse,
  wrote: (bytes: number) => void = () => {},
  stalled: () => void = () => {},
): void {
  const piece = Buffer.alloc(64 * 1024, 'flood ');
  let written = 0;
  let timer: NodeJS.Timeout | undefined;
  response.writeHead(200);
  const more = () => {
    clearTimeout(timer);
    let room = true;
    while (room && !response.destroyed) {
      room = response.write(piece);
      written += piece.length;
    }
    wrote(written);
    timer = setTimeout(stalled, 300);
  };
  response.on('drain', more);
  response.on('close', () => clearTimeout(timer));
  more();
}
