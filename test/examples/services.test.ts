import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EngineName } from '../../runtime/drivers/wasm/engine.ts';
import { wasmtimeAvailable } from '../../runtime/drivers/wasm/wasmtime/index.ts';
import { listen } from '../support/egress.ts';
import { ExampleNode } from '../support/example-node.ts';
import { exampleMissing } from '../support/examples.ts';
import { ask } from '../support/test-node.ts';

function examples(engine: EngineName): void {
  const test = suite<{ node: ExampleNode }>(`examples of what a function may use, on ${engine}`);

  test.before(async (context) => {
    context.node = await ExampleNode.start(engine);
  });
  test.after(({ node }) => node.close());

  test('outbound passes requests on to the server that it may connect to, and to no other', async ({ node }) => {
    const server = createServer((incoming, answer) => {
      answer.writeHead(incoming.url === '/gone' ? 410 : 200, { 'content-type': 'text/x-test' });
      answer.end(`asked for ${incoming.url}`);
    });
    const port = await listen(server);
    const upstream = `UPSTREAM=http://127.0.0.1:${port}`;
    try {
      await node.deployed('outbound', '--env', upstream, '--allow', `127.0.0.1:${port}`);
      const answer = await ask(node.url, { path: '/outbound/a?b=c' });
      assert.is(answer.body.toString(), 'asked for /a?b=c');
      assert.is(answer.headers['content-type'], 'text/x-test');
      assert.is((await ask(node.url, { path: '/outbound/gone' })).status, 410);
      // Its own list, without the flag, has another server.
      await node.deployed('outbound', '--env', upstream);
      const refused = await ask(node.url, { path: '/outbound/a' });
      assert.is(refused.status, 502);
      assert.match(refused.body.toString(), /^http:\/\/127\.0\.0\.1:\d+ cannot be reached: /);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('events arrive as they are written, each with its own number and time, and end when the client leaves', async ({
    node,
  }) => {
    await node.deployed('events');
    const { hostname, port } = new URL(node.url);
    const asked = request({ hostname, port, path: '/events?every=20', agent: false }).end();
    const events = await new Promise<string[]>((resolve, reject) => {
      asked.once('error', reject);
      asked.once('response', (response) => {
        assert.is(response.headers['content-type'], 'text/event-stream');
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
          const whole = text.split('\n\n').slice(0, -1);
          if (whole.length >= 3) resolve(whole);
        });
      });
    });
    asked.destroy();
    const parts = events.map((event) => /^id: ([0-9a-f-]{36})\ndata: (\d{4}-\S+Z)$/.exec(event));
    assert.is(new Set(parts.map((part) => part?.[1])).size, events.length, `${events}`);
    const times = parts.map((part) => Date.parse(part?.[2] ?? ''));
    assert.ok(
      times.every((time, at) => time > (times[at - 1] ?? 0)),
      `${times}`,
    );
    assert.ok(Math.abs(times[0]! - Date.now()) < 60_000, 'it is the time of now');
    await node.idle('events');
  });

  test('wait-until answers at once, and delivers the order afterwards', async ({ node }) => {
    const webhook = createServer();
    const port = await listen(webhook);
    try {
      await node.deployed('wait-until', ...deliverTo(port));
      const delivery = once(webhook, 'request') as Promise<[IncomingMessage, ServerResponse]>;
      // The answer comes while the webhook is still waited for.
      assert.is((await order(node, 'a pizza')).status, 202);
      const [incoming, answer] = await delivery;
      assert.is(await text(incoming), 'a pizza');
      answer.writeHead(204).end();
      await node.logs('wait-until', /delivered: the webhook answered 204$/m);
    } finally {
      webhook.closeAllConnections();
      webhook.close();
    }
  });

  test('wait-until is ended at its deadline, however long its work takes', async ({ node }) => {
    const webhook = createServer();
    const port = await listen(webhook);
    try {
      await node.deployed('wait-until', ...deliverTo(port), '--timeout', '500ms');
      const delivery = once(webhook, 'request') as Promise<[IncomingMessage, ServerResponse]>;
      assert.is((await order(node, 'a pizza')).status, 202);
      const [, answer] = await delivery;
      await once(answer, 'close');
      assert.not(answer.writableEnded, 'nothing was answered: the function is gone');
    } finally {
      webhook.closeAllConnections();
      webhook.close();
    }
  });

  const counts = 'counter counts every increment, knows its secret, and has its counts after a restart';
  if (missing !== null) {
    test.skip(counts);
    console.log(`skipped: ${counts}, since ${missing}`);
  } else {
    test(counts, async ({ node }) => {
      await node.deployed('counter');
      const tell = async (method: string, path: string, headers = {}) => {
        const { status, body } = await ask(node.url, { method, path: `/counter${path}`, headers });
        return `${status} ${body.toString().trim()}`;
      };
      assert.is(await node.askedAsDocumented('counter'), '1\n0\n');
      const sums = await Promise.all(Array.from({ length: 40 }, () => tell('POST', '/visits')));
      const expected = Array.from({ length: 40 }, (_, at) => `200 ${at + 1}`);
      assert.equal(new Set(sums), new Set(expected), 'no two requests got the same count');
      await node.restart();
      assert.is(await tell('GET', '/visits'), '200 40');
      assert.is(await tell('GET', '/others'), '200 0');
      assert.is(await tell('DELETE', '/visits', { authorization: 'Bearer guessed' }), '403 that needs the secret');
      assert.is(await tell('DELETE', '/visits', { authorization: 'Bearer change me' }), '200 0');
      assert.is(await tell('GET', '/visits'), '200 0');
      await node.logs('counter', / err {2}WARN counter: somebody without the secret tried to delete visits$/m);
      await node.logs('counter', / err {2}INFO counter: visits was deleted$/m);
    });
  }

  test('notes keeps what it is sent, knows its secret, and has its notes after a restart', async ({ node }) => {
    await node.deployed('notes');
    const tell = async (method: string, path: string, headers = {}, body = '') => {
      const answer = await ask(node.url, { method, path: `/notes${path}`, headers, body });
      return `${answer.status} ${answer.body.toString().trim()}`;
    };
    assert.is(await node.askedAsDocumented('notes'), 'written; 1 so far\nbuy milk');
    const written = await Promise.all(Array.from({ length: 10 }, (_, at) => tell('PUT', `/n${at}`, {}, `note ${at}`)));
    const expected = Array.from({ length: 10 }, (_, at) => `200 written; ${at + 2} so far`);
    assert.equal(new Set(written), new Set(expected), 'no two requests got the same count');
    await node.restart();
    assert.is(await tell('GET', '/n7'), '200 note 7');
    assert.is(await tell('GET', '/'), '200 ["n0","n1","n2","n3","n4","n5","n6","n7","n8","n9","today"]');
    assert.is(await tell('DELETE', '/n7', { authorization: 'Bearer guessed' }), '403 that needs the secret');
    assert.is(await tell('DELETE', '/n7', { authorization: 'Bearer change me' }), '200 deleted');
    assert.is(await tell('GET', '/n7'), '404 no such note');
    await node.logs('notes', / err {2}WARN notes: somebody without the secret tried to delete n7$/m);
  });

  test.run();
}

function deliverTo(port: number): string[] {
  return ['--env', `WEBHOOK=http://127.0.0.1:${port}/orders`, '--allow', `127.0.0.1:${port}`];
}

function order(node: ExampleNode, body: string) {
  return ask(node.url, { method: 'POST', path: '/wait-until', body });
}

const missing = await exampleMissing('counter');
const native = wasmtimeAvailable();
if (native.available) examples('wasmtime');
else console.log(`skipped: examples of what a function may use, on wasmtime: ${native.why}`);
examples('jco');
