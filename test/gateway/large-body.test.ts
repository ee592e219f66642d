/** A body of 1 GiB passes through the gateway, both ways at once, in bounded memory. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Exchange } from '../../runtime/exchange.ts';
import { withPlane } from '../support/control-plane.ts';
import { type Client, PROTOCOLS } from '../support/protocols.ts';
import { discard, startProcess } from '../support/test-node.ts';

const MiB = 2 ** 20;
const TOTAL = 1024 * MiB;
/** What the process may grow by while 1 GiB passes through it twice: client, gateway and workload are all in it. */
const MOST_GROWTH = 128 * MiB;

/** Gives back what it gets, as fast as the client takes it. */
async function echo(exchange: Exchange): Promise<void> {
  const { body, reply } = exchange;
  if (!body) return reply.send(200, [], Buffer.from('ok'));
  reply.start(200, []);
  reply.onDrain(() => body.resume());
  await new Promise<void>((resolve, reject) => {
    body.open({
      chunk(data) {
        if (!reply.write(data)) body.pause();
      },
      end: () => resolve(),
      error: reject,
    });
  });
  reply.end(null);
}

/** Memory of a process, in bytes. */
function memoryOf(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** The most memory of a process while `work` runs, above what it had before, in bytes. */
async function growth(pid: number, work: () => Promise<void>): Promise<number> {
  const before = memoryOf(pid);
  let most = before;
  const look = setInterval(() => {
    most = Math.max(most, memoryOf(pid));
  }, 20);
  try {
    await work();
  } finally {
    clearInterval(look);
  }
  return most - before;
}

/** Sends TOTAL bytes and reads them back at the same time. */
async function echoed(client: Client): Promise<void> {
  const piece = Buffer.from(Array.from({ length: 64 * 1024 }, (_, i) => i % 251));
  const asked = client.ask({ path: '/w/echo', body: 'open' });
  const send = async () => {
    for (let sent = 0; sent < TOTAL; sent += piece.length) await asked.write(piece);
    asked.end();
  };
  let received = 0;
  const receive = async () => {
    for await (const data of (await asked.body()) as AsyncIterable<Buffer>) {
      const at = received % piece.length;
      const head = data.subarray(0, piece.length - at);
      // A sample of them: comparing all takes longer than sending them.
      if (received % (16 * MiB) < piece.length) assert.ok(head.equals(piece.subarray(at, at + head.length)));
      received += data.length;
    }
  };
  await Promise.all([send(), receive()]);
  assert.is(received, TOTAL);
}

for (const protocol of PROTOCOLS) {
  test(`${protocol.name}: 1 GiB comes back byte for byte, and the node holds only a little of it at a time`, () =>
    withPlane(
      async (plane) => {
        await plane.settledDeploy('w', 'w', { timeout: '10m' }, echo);
        const client = protocol.connect(plane.url);
        await client.ask({ path: '/w/' }).answer();
        const most = await growth(process.pid, () => echoed(client));
        client.close();
        assert.ok(most < MOST_GROWTH, `it grew by ${Math.round(most / MiB)} MiB`);
      },
      { certificate: protocol.certificate },
    ));
}

test('1 GiB passes through a WebAssembly function of a real node, and comes back', async () => {
  const node = await startProcess({ args: ['--engine', 'auto'] });
  try {
    await node.admin.deploy('w', { timeout: '10m' });
    for (const protocol of PROTOCOLS.filter(({ certificate }) => !certificate)) {
      const client = protocol.connect(node.url);
      await client.ask({ path: '/w/hello' }).answer();
      const most = await growth(node.child.pid!, () => echoed(client));
      client.close();
      assert.ok(most < MOST_GROWTH, `over ${protocol.name} it grew by ${Math.round(most / MiB)} MiB`);
    }
  } finally {
    await discard(node);
  }
});

test.run();
