/** What the fast path takes for a simple request is what Node's parser reads from the same bytes. */
import { createServer, type IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { http1Options } from '../../gateway/listener/http1.ts';
import { LISTENER_LIMITS } from '../../gateway/listener/limits.ts';
import { readSimpleRequest, type SimpleRequest } from '../../gateway/listener/simple-request.ts';

/** As `readByNode` tells it. */
const read = (text: string) => {
  const request = readSimpleRequest(Buffer.from(text, 'latin1'));
  return request && { method: request.method, url: request.url, rawHeaders: request.rawHeaders };
};

type Read = Omit<SimpleRequest, 'webSocket'>;

/** A connection that brings these bytes and no more. */
class Bytes extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

/** What Node's parser makes of the bytes: all requests, or null when it finds fault. */
function readByNode(text: string): Promise<Read[] | null> {
  const server = createServer(http1Options(LISTENER_LIMITS));
  server.maxHeadersCount = 0;
  const socket = new Bytes();
  const seen: Read[] = [];
  return new Promise((resolve) => {
    const note = ({ method, url, rawHeaders }: IncomingMessage) =>
      seen.push({ method: method as string, url: url as string, rawHeaders });
    server.on('request', note).on('connect', note).on('upgrade', note).on('checkExpectation', note);
    server.on('clientError', () => resolve(null));
    server.emit('connection', socket);
    socket.push(Buffer.from(text, 'latin1'));
    setImmediate(() => setImmediate(() => resolve(seen)));
  }).finally(() => {
    socket.destroy();
    server.close();
  }) as Promise<Read[] | null>;
}

test('a simple request is read as it was written', () => {
  assert.equal(read('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), { method: 'GET', url: '/', rawHeaders: ['Host', 'a'] });
  assert.equal(read('GET / HTTP/1.1\r\n\r\n'), { method: 'GET', url: '/', rawHeaders: [] });
  const request =
    'DELETE /a/../%2F?x=[{}]&y HTTP/1.1\r\nHOST:a:80\r\nX-A: \t1 ,2 \t\r\nx-a:\r\nx-b: \r\nConnection: Keep-Alive\r\n\r\n';
  assert.equal(read(request), {
    method: 'DELETE',
    url: '/a/../%2F?x=[{}]&y',
    rawHeaders: ['HOST', 'a:80', 'X-A', '1 ,2', 'x-a', '', 'x-b', '', 'Connection', 'Keep-Alive'],
  });
});

const host = 'Host: a\r\n';
const doubtful = [
  '',
  '\r\n\r\n',
  'GET',
  'GET / HTTP/1.1',
  'GET / HTTP/1.1\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\n',
  `GET / HTTP/1.1\r\n${host}\r\nGET / HTTP/1.1\r\n${host}\r\n`,
  `GET / HTTP/1.1\r\n${host}\r\n `,
  `GET / HTTP/1.1\r\n${host}\r\n\r\n`,
  'GET / HTTP/1.1\nHost: a\n\n',
  'GET / HTTP/1.1\r\nHost: a\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\n\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n',
  'GET / HTTP/1.1\r\r\nHost: a\r\n\r\n',
  `GET  / HTTP/1.1\r\n${host}\r\n`,
  `GET /  HTTP/1.1\r\n${host}\r\n`,
  `GET / HTTP/1.1 \r\n${host}\r\n`,
  `GET / HTTP/1.0\r\n${host}\r\n`,
  `GET / HTTP/2.0\r\n${host}\r\n`,
  `get / HTTP/1.1\r\n${host}\r\n`,
  `POST / HTTP/1.1\r\n${host}\r\n`,
  `CONNECT a:80 HTTP/1.1\r\n${host}\r\n`,
  `OPTIONS * HTTP/1.1\r\n${host}\r\n`,
  `GET http://a/ HTTP/1.1\r\n${host}\r\n`,
  `GET /a b HTTP/1.1\r\n${host}\r\n`,
  `GET /#a HTTP/1.1\r\n${host}\r\n`,
  `GET /\xe9 HTTP/1.1\r\n${host}\r\n`,
  `GET /\0 HTTP/1.1\r\n${host}\r\n`,
  `GET /\x7f HTTP/1.1\r\n${host}\r\n`,
  'GET / HTTP/1.1\r\n Host: a\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n',
  'GET / HTTP/1.1\r\nHost : a\r\n\r\n',
  'GET / HTTP/1.1\r\n: a\r\n\r\n',
  'GET / HTTP/1.1\r\nHost\r\n\r\n',
  'GET / HTTP/1.1\r\nHost\r\nX: a\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\0\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\xe9\r\n\r\n',
  'GET / HTTP/1.1\r\nHo st: a\r\n\r\n',
  `GET / HTTP/1.1\r\n${host}Content-Length: 0\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}transfer-encoding: chunked\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}Expect: 100-continue\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}Upgrade: h2c\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}Connection: Upgrade\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}Upgrade: websocket\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n`,
  `HEAD / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  `GET / HTTP/1.1\r\n${host}Connection: keep-alive, x-a\r\nx-a: 1\r\n\r\n`,
  `\r\nGET / HTTP/1.1\r\n${host}\r\n`,
  `GET /${'a'.repeat(8 * 1024)} HTTP/1.1\r\n${host}\r\n`,
];
for (const text of doubtful) {
  test(`left to Node: ${JSON.stringify(text.slice(0, 80))}`, () => assert.is(read(text), null));
}

test('whatever it takes, Node reads the same from it, and nothing else', async () => {
  const seed = Number(process.env.SKERRY_SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`# seed ${seed} (SKERRY_SEED repeats it)`);
  let state = seed >>> 0 || 1;
  // xorshift32 (Marsaglia 2003).
  const below = (bound: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
  const whole = [
    `GET /w/a?b=c HTTP/1.1\r\n${host}Accept: */*\r\nCookie: a=1; b="2"\r\nConnection: keep-alive\r\n\r\n`,
    `HEAD / HTTP/1.1\r\n${host}X: 1\r\nX:  2 \t\r\n\r\n`,
    `GET /ws HTTP/1.1\r\n${host}Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    `OPTIONS /%00 HTTP/1.1\r\nhost:[::1]:80\r\nOrigin: http://a\r\n\r\n`,
  ];
  const pieces = [
    '\r\n',
    '\r',
    '\n',
    ' ',
    '\t',
    ':',
    ',',
    '\0',
    '\x7f',
    '\xff',
    'HTTP/1.1',
    'Host: b\r\n',
    '#',
    '"',
    '|',
  ];
  let taken = 0;
  for (let i = 0; i < 20_000; i++) {
    let text = whole[below(whole.length)] as string;
    for (let edits = below(4); edits > 0; edits--) {
      const at = below(text.length);
      const piece = below(2) ? (pieces[below(pieces.length)] as string) : String.fromCharCode(below(256));
      text = text.slice(0, at) + piece + text.slice(at + below(3));
    }
    const simple = read(text);
    if (!simple) continue;
    taken++;
    assert.equal(await readByNode(text), [simple], JSON.stringify(text));
  }
  assert.ok(taken > 2000, `${taken} were taken`);
});

test.run();
