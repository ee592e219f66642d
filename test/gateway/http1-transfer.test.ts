import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { FlatHeaders } from '../../runtime/exchange.ts';
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
      names.filter((name) => !name.startsWith('x-forwarded-') && name !== 'x-request-id' && name !== 'traceparent'),
      ['accept', 'x-twice', 'x-twice', 'cookie', 'authorization', 'x-latin'],
    );
    assert.equal(values(seen, 'x-twice'), ['1', '2']);
    assert.equal(values(seen, 'x-latin'), ['\xe9']);
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

test('a Trailer header goes on only where there can be trailers, and an answer that is refused has its own reason', async () => {
  const guest: Guest = (exchange) => {
    if (exchange.target === '/bad') return exchange.reply.send(299, ['x', 'a\r\nb'], null);
    if (exchange.target === '/204' || exchange.target === '/chunked') {
      exchange.reply.start(exchange.target === '/204' ? 204 : 200, ['trailer', 'x-sum']);
      return exchange.reply.end(null);
    }
    if (exchange.target === '/whole') return exchange.reply.send(200, ['trailer', 'x-sum'], Buffer.from('whole'));
    exchange.reply.start(200, ['trailer', 'x-sum', 'content-length', '5']);
    exchange.reply.write(Buffer.from('piece'));
    exchange.reply.end(null);
  };
  await withGuest(guest, async ({ url }) => {
    for (const path of ['/whole', '/length']) {
      const response = (await exchangeRaw(url, get(path, 'connection: close\r\n'))).raw.toString();
      assert.match(response, /^HTTP\/1\.1 200 OK\r\n/);
      assert.not.match(response, /trailer:/i);
      assert.match(response, /(whole|piece)$/);
    }
    const chunked = get('/chunked', 'connection: close\r\n');
    assert.match((await exchangeRaw(url, chunked)).raw.toString(), /^HTTP\/1\.1 200 OK\r\n.*trailer: x-sum\r\n/s);
    const without = [
      get('/204', 'connection: close\r\n'),
      chunked.replace('GET', 'HEAD'),
      'GET /w/chunked HTTP/1.0\r\nhost: a\r\n\r\n',
    ];
    for (const request of without) {
      const response = (await exchangeRaw(url, request, { head: request.startsWith('HEAD') })).raw.toString();
      assert.match(response, /^HTTP\/1\.1 20[04] /, request);
      assert.not.match(response, /trailer:/i, request);
    }
    assert.match(
      (await exchangeRaw(url, get('/bad', 'connection: close\r\n'))).raw.toString(),
      /^HTTP\/1\.1 500 Internal Server Error\r\n/,
    );
  });
});

test('a target with a fragment, and a version that is not 1.x, are refused before a workload sees them', async () => {
  await withGuest(
    (exchange) => exchange.reply.send(200, [], null),
    async ({ url }) => {
      for (const line of ['GET /w/a#b HTTP/1.1', 'GET /w/ HTTP/2.0']) {
        const request = `${line}\r\nhost: a\r\nconnection: close\r\n\r\n`;
        const response = (await exchangeRaw(url, request)).raw.toString();
        assert.match(response, /^HTTP\/1\.1 400 Bad Request\r\n/, line);
        assert.match(response, /"code":"BAD_REQUEST"/, line);
      }
    },
  );
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
