import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Exchange, FlatHeaders } from '../../runtime/exchange.ts';
import { type ControlPlane, withPlane } from '../support/control-plane.ts';
import type { Guest } from '../support/fake-driver.ts';
import { exchangeRaw, header, RawConnection } from '../support/raw-http.ts';

/** A control plane with one workload, `w`. */
function withGuest(guest: Guest, work: (plane: ControlPlane) => Promise<void>) {
  return withPlane(async (plane) => {
    await plane.settledDeploy('w', 'w', {}, guest);
    await work(plane);
  });
}

const get = (path: string, headers = '') => `GET /w${path} HTTP/1.1\r\nhost: a\r\n${headers}\r\n`;
const values = (flat: FlatHeaders, name: string) => flat.filter((_, i) => i % 2 === 1 && flat[i - 1] === name);

/** Resolves with the whole body; pieces are taken as they come. */
function readBody(exchange: Exchange): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = [];
    if (!exchange.body) return resolve(Buffer.alloc(0));
    exchange.body.open({
      chunk: (data) => pieces.push(data),
      end: () => resolve(Buffer.concat(pieces)),
      error: reject,
    });
  });
}

test('hop-by-hop headers, and those that Connection names, do not reach the workload; all others do, in order', async () => {
  let seen: FlatHeaders = [];
  const guest: Guest = (exchange) => {
    seen = exchange.headers;
    exchange.reply.send(200, [], null);
  };
  await withGuest(guest, async ({ url }) => {
    await exchangeRaw(
      url,
      get(
        '/',
        'Accept: a\r\nX-Twice: 1\r\nX-Twice: 2\r\nConnection: x-secret, Keep-Alive\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n' +
          'Proxy-Authorization: x\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nTrailer: x\r\n' +
          'Connection: x-other\r\nX-Other: 1\r\nConnection: close\r\nCookie: a=1\r\nAuthorization: Bearer x\r\nx-latin: \xe9\r\n',
      ),
    );
    const names = seen.filter((_, i) => i % 2 === 0);
    assert.equal(
      names.filter((name) => !name.startsWith('x-forwarded-') && name !== 'x-request-id'),
      ['accept', 'x-twice', 'x-twice', 'cookie', 'authorization', 'x-latin'],
    );
    assert.equal(values(seen, 'x-twice'), ['1', '2']);
    assert.equal(values(seen, 'x-latin'), ['\xe9']);
  });
});

test("a client's word on where it comes from is replaced by the gateway's", async () => {
  let seen: FlatHeaders = [];
  const guest: Guest = (exchange) => {
    seen = exchange.headers;
    exchange.reply.send(200, [], null);
  };
  await withGuest(guest, async ({ url }) => {
    const forged = ['For', 'Host', 'Proto', 'Prefix', 'Port', 'Server'].map(
      (name) => `X-Forwarded-${name}: forged\r\n`,
    );
    const response = await exchangeRaw(
      url,
      get(
        '/',
        `${forged.join('')}Forwarded: for=forged\r\nX-Request-Id: forged\r\nConnection: x-forwarded-for, x-request-id\r\n`,
      ),
    );
    assert.not.match(seen.join(' '), /forged/);
    assert.equal(values(seen, 'x-forwarded-for'), ['127.0.0.1']);
    assert.equal(values(seen, 'x-forwarded-host'), ['a']);
    assert.equal(values(seen, 'x-forwarded-proto'), ['http']);
    assert.equal(values(seen, 'x-forwarded-prefix'), ['/w']);
    assert.equal(values(seen, 'x-request-id'), [header(response, 'x-request-id')]);
  });
});

test("a workload's word on the connection does not reach the client; its repeated headers do", async () => {
  const guest: Guest = (exchange) =>
    exchange.reply.send(
      200,
      [
        'Set-Cookie',
        'a=1',
        'set-cookie',
        'b=2; HttpOnly',
        'Connection',
        'X-Inner',
        'X-Inner',
        '1',
        'Keep-Alive',
        'x',
        'Transfer-Encoding',
        'chunked',
        'Upgrade',
        'x',
        'TE',
        'x',
        'X-Request-Id',
        'forged',
        'X-Kept',
        '1',
      ],
      Buffer.from('ok'),
    );
  await withGuest(guest, async ({ url }) => {
    const response = await exchangeRaw(url, get('/'));
    const named = (name: string) => response.headers.filter(([key]) => key === name).map(([, value]) => value);
    assert.equal(named('set-cookie'), ['a=1', 'b=2; HttpOnly']);
    assert.equal(named('x-kept'), ['1']);
    assert.equal(named('x-inner'), []);
    assert.equal(named('transfer-encoding'), []);
    assert.equal(named('upgrade'), []);
    assert.equal(named('connection'), ['keep-alive']);
    assert.is(named('x-request-id').length, 1);
    assert.is.not(named('x-request-id')[0], 'forged');
    assert.is(response.body.toString(), 'ok');
  });
});

test('HEAD, 204 and 304 have no body, whatever the workload writes, and the connection goes on', async () => {
  const guest: Guest = (exchange) => {
    const status = Number(exchange.target.slice(1).split('?')[0]);
    const headers = ['content-length', '4'];
    if (exchange.target.endsWith('?stream')) {
      exchange.reply.start(status, status === 200 ? [] : headers);
      exchange.reply.write(Buffer.from('body'));
      exchange.reply.end(null);
    } else exchange.reply.send(status, headers, Buffer.from('body'));
  };
  await withGuest(guest, async ({ url }) => {
    const connection = await RawConnection.open(url);
    for (const how of ['', '?stream']) {
      await connection.write(`HEAD /w/200${how} HTTP/1.1\r\nhost: a\r\n\r\n`);
      const head = await connection.response({ head: true });
      assert.is(head.status, 200);
      if (how === '') assert.is(header(head, 'content-length'), '4', 'the length a GET would have');
      for (const status of [204, 304]) {
        await connection.write(get(`/${status}${how}`));
        const response = await connection.response();
        assert.is(response.status, status);
        assert.is(header(response, 'transfer-encoding'), undefined);
        if (status === 204) assert.is(header(response, 'content-length'), undefined);
      }
    }
    await connection.write(get('/200'));
    assert.is((await connection.response()).body.toString(), 'body', 'nothing was left over');
    assert.is(connection.rest, '');
    connection.destroy();
  });
});

test('HEAD is told no length that a GET would not have', async () => {
  const guest: Guest = (exchange) => exchange.reply.send(200, ['x-seen', exchange.method], null);
  await withGuest(guest, async ({ url }) => {
    const connection = await RawConnection.open(url);
    await connection.write('HEAD /w/ HTTP/1.1\r\nhost: a\r\n\r\n');
    const head = await connection.response({ head: true });
    assert.is(header(head, 'x-seen'), 'HEAD');
    assert.is(header(head, 'content-length'), undefined);
    await connection.write(get('/'));
    assert.is(header(await connection.response(), 'content-length'), '0', 'a GET without a body has a length of 0');
    connection.destroy();
  });
});

test('a failure before the first byte is a problem with the id of the request; the connection goes on', async () => {
  const guest: Guest = () => {
    throw new Error('a secret of the implementation');
  };
  await withGuest(guest, async ({ url, outcomes, driver }) => {
    const connection = await RawConnection.open(url);
    for (let i = 0; i < 2; i++) {
      await connection.write(get('/'));
      const response = await connection.response();
      assert.is(response.status, 500);
      assert.is(header(response, 'content-type'), 'application/problem+json');
      assert.not.match(response.body.toString(), /secret/);
      await driver.until(() => outcomes.length > i);
      assert.is(JSON.parse(response.body.toString()).requestId, outcomes[i]!.requestId);
      assert.is(outcomes[i]!.error?.code, 'INTERNAL');
    }
    connection.destroy();
  });
});

test('a failure after the first byte breaks the transfer: no terminating chunk, nothing after it', async () => {
  let fail = () => {};
  const guest: Guest = async (exchange) => {
    exchange.reply.start(200, []);
    exchange.reply.write(Buffer.from('the first half'));
    await new Promise<void>((resolve) => {
      fail = resolve;
    });
    throw new Error('broke off');
  };
  await withGuest(guest, async ({ url }) => {
    const connection = await RawConnection.open(url);
    await connection.write(get('/'));
    await connection.until('the first half');
    fail();
    const response = await connection.response();
    assert.is(header(response, 'transfer-encoding'), 'chunked');
    assert.not(response.complete);
    await connection.closed;
    assert.not.match(response.raw.toString() + connection.rest, /\r\n0\r\n/);
    assert.not.match(response.raw.toString() + connection.rest, /problem/);
    connection.destroy();
  });
});

test('with a Content-Length, and towards HTTP/1.0, a broken transfer cannot be taken for whole either', async () => {
  let fail = () => {};
  const guest: Guest = async (exchange) => {
    exchange.reply.start(200, exchange.target === '/length' ? ['content-length', '100'] : []);
    exchange.reply.write(Buffer.from('the first half'));
    await new Promise<void>((resolve) => {
      fail = resolve;
    });
    throw new Error('broke off');
  };
  await withGuest(guest, async ({ url }) => {
    for (const request of [get('/length'), 'GET /w/ HTTP/1.0\r\n\r\n']) {
      const connection = await RawConnection.open(url);
      await connection.write(request);
      await connection.until('the first half');
      fail();
      assert.not((await connection.response()).complete, request);
      connection.destroy();
    }
  });
});

test('the head goes out with the first byte, not with the last', async () => {
  let finish = () => {};
  const guest: Guest = async (exchange) => {
    exchange.reply.start(200, ['content-type', 'text/event-stream']);
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    exchange.reply.write(Buffer.from('data: 1\n\n'));
    exchange.reply.end(null);
  };
  await withGuest(guest, async ({ url }) => {
    const connection = await RawConnection.open(url);
    await connection.write(get('/'));
    await connection.until('text/event-stream');
    finish();
    assert.ok((await connection.response()).complete);
    connection.destroy();
  });
});

test('trailers pass both ways', async () => {
  const guest: Guest = async (exchange) => {
    const trailers = await new Promise<FlatHeaders | null>((resolve, reject) =>
      exchange.body!.open({ chunk() {}, end: resolve, error: reject }),
    );
    exchange.reply.start(200, ['trailer', 'x-sum']);
    exchange.reply.write(Buffer.from(JSON.stringify(trailers)));
    exchange.reply.end(['x-sum', '42']);
  };
  await withGuest(guest, async ({ url }) => {
    const request =
      'POST /w/ HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-mine: 7\r\n\r\n';
    const response = await exchangeRaw(url, request);
    assert.is(response.body.toString(), '["x-mine","7"]');
    assert.match(response.raw.toString(), /0\r\nx-sum: 42\r\n\r\n$/);
  });
});

test('a body of known and of unknown length arrives byte for byte', async () => {
  const guest: Guest = async (exchange) => {
    const body = await readBody(exchange);
    exchange.reply.send(200, ['x-length', String(exchange.body?.length ?? 'unknown')], body);
  };
  await withGuest(guest, async ({ url }) => {
    const body = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
    const connection = await RawConnection.open(url);
    await connection.write(`POST /w/ HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`);
    await connection.write(body);
    const known = await connection.response();
    assert.is(header(known, 'x-length'), String(body.length));
    assert.ok(known.body.equals(body));
    await connection.write('POST /w/ HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n');
    for (let at = 0; at < body.length; at += 7919) {
      const piece = body.subarray(at, at + 7919);
      await connection.write(`${piece.length.toString(16)}\r\n`);
      await connection.write(piece);
      await connection.write('\r\n');
    }
    await connection.write('0\r\n\r\n');
    const unknown = await connection.response();
    assert.is(header(unknown, 'x-length'), 'unknown');
    assert.ok(unknown.body.equals(body));
    await connection.write('POST /w/ HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n');
    assert.is((await connection.response()).status, 200);
    connection.destroy();
  });
});

test('a workload that does not read holds its client back; it loses nothing of what it reads later', async () => {
  const TOTAL = 16 * 2 ** 20;
  let received = 0;
  let resume = () => {};
  let paused = () => {};
  const isPaused = new Promise<void>((resolve) => {
    paused = resolve;
  });
  const guest: Guest = async (exchange) => {
    const { body } = exchange;
    await new Promise<void>((resolve, reject) => {
      body!.open({
        chunk(data) {
          if (received === 0) {
            body!.pause();
            paused();
          }
          received += data.byteLength;
        },
        end: () => resolve(),
        error: reject,
      });
      resume = () => body!.resume();
    });
    exchange.reply.send(200, [], Buffer.from(String(received)));
  };
  await withGuest(guest, async ({ url }) => {
    const connection = await RawConnection.open(url);
    await connection.write(`POST /w/ HTTP/1.1\r\nhost: a\r\ncontent-length: ${TOTAL}\r\n\r\n`);
    const sent = connection.write(Buffer.alloc(TOTAL));
    await isPaused;
    // As long as nothing moves in many turns of the loop, what was taken is what the sockets hold.
    for (let still = 0, before = -1; still < 50; still++) {
      if (connection.unsent !== before) still = 0;
      before = connection.unsent;
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(connection.unsent > 0, 'the client still has some of it');
    assert.ok(received < 2 ** 20, `the node took ${received} bytes for a workload that read none`);
    resume();
    await sent;
    assert.is((await connection.response()).body.toString(), String(TOTAL));
    connection.destroy();
  });
});

test('a client that does not read holds its workload back', async () => {
  const PIECE = Buffer.alloc(64 * 1024, 'x');
  const PIECES = 400;
  let full = () => {};
  const isFull = new Promise<void>((resolve) => {
    full = resolve;
  });
  let written = 0;
  const guest: Guest = async (exchange) => {
    exchange.reply.start(200, []);
    let drained = () => {};
    exchange.reply.onDrain(() => drained());
    for (; written < PIECES; written++) {
      if (exchange.reply.write(PIECE)) continue;
      await new Promise<void>((resolve) => {
        drained = resolve;
        if (written > 0 && written < PIECES / 2) full();
      });
    }
    exchange.reply.end(null);
  };
  await withGuest(guest, async ({ url }) => {
    const connection = await RawConnection.open(url);
    connection.pause();
    await connection.write(get('/'));
    await isFull;
    for (let still = 0, before = -1; still < 50; still++) {
      if (written !== before) still = 0;
      before = written;
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(written < PIECES, 'not all of it was taken for a client that reads none');
    connection.resume();
    const response = await connection.response();
    assert.is(response.body.length, PIECES * PIECE.length);
    connection.destroy();
  });
});

test('a client that breaks off in the middle of its body tells the workload so', async () => {
  let told!: (reason: string) => void;
  const reason = new Promise<string>((resolve) => {
    told = resolve;
  });
  const guest: Guest = async (exchange) => {
    await readBody(exchange).then(
      () => told('taken for whole'),
      () => told('broken off'),
    );
  };
  await withGuest(guest, async ({ url }) => {
    const connection = await RawConnection.open(url);
    await connection.write('POST /w/ HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf');
    await new Promise((resolve) => setImmediate(resolve));
    connection.destroy();
    assert.is(await reason, 'broken off');
  });
});

test('a client that leaves aborts the work, and counts as no failure of the workload', async () => {
  const guest: Guest = (exchange) => new Promise((resolve) => exchange.onAbort(resolve));
  await withGuest(guest, async ({ url, driver, outcomes }) => {
    const connection = await RawConnection.open(url);
    await connection.write(get('/'));
    await driver.until(() => driver.instances[0]!.inFlight === 1);
    connection.destroy();
    await driver.until(() => outcomes.length === 1);
    assert.is(outcomes[0]!.error, null);
    assert.is(driver.instances[0]!.inFlight, 0);
  });
});

test('an answer given before the request was read leaves the connection usable, with the rest of the body thrown away', async () => {
  const guest: Guest = (exchange) => {
    if (exchange.target === '/cancel') exchange.body?.cancel();
    exchange.reply.send(200, [], Buffer.from('early'));
  };
  await withGuest(guest, async ({ url }) => {
    const connection = await RawConnection.open(url);
    const body = 'GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(3000);
    for (const path of ['/w/', '/w/cancel', '/nobody']) {
      await connection.write(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`);
      const response = await connection.response();
      assert.is(response.status, path === '/nobody' ? 404 : 200);
      await connection.write(body);
    }
    await connection.write(get('/last'));
    assert.is((await connection.response()).body.toString(), 'early');
    assert.is(connection.rest, '');
    connection.destroy();
  });
});

test.run();
