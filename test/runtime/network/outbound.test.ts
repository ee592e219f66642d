/** Containers with an allow-list on the machine's own kernel: what they reach by name, and everything that they do not. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { Socket as Client, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { closeFd, connectInside, openNetworkNamespace } from '../../../native/host/index.ts';
import type { Instance } from '../../../runtime/driver.ts';
import { NETWORK_LIMITS } from '../../../runtime/network/limits.ts';
import type { RevisionDocument } from '../../../runtime/workload/documents.ts';
import { ContainerNode, whyNoContainers } from '../../support/container-node.ts';
import { question } from '../../support/dns-client.ts';
import { fakeResolver, listen } from '../../support/egress.ts';
import { noMoreFilesThan, openFiles } from '../../support/host-suite.ts';
import { layerOf } from '../../support/image-builder.ts';
import { inside, shellConfig, shellLayers, TOOLS } from '../../support/shell-container.ts';
import { file, folder } from '../../support/tar-writer.ts';
import { testUnless } from '../../support/test-unless.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const why = await whyNoContainers();
const containers = suite('what containers send out');

interface World {
  readonly node: ContainerNode;
  /** Names that were looked for beyond the node. */
  readonly asked: string[];
  /** A container with this allow-list, that listens at this port. */
  up(allow: readonly string[], port?: number): Promise<Instance>;
  /** A server on this machine's loopback; its port. */
  serve(take: (socket: Socket) => void, host?: string): Promise<number>;
}

const names: Record<string, string[][]> = {
  'here.example': [['127.0.0.1']],
  'other.example': [['127.0.0.1']],
  'a.wild.example': [['127.0.0.1']],
  'b.wild.example': [['127.0.0.1']],
  'private.example': [['10.1.2.3']],
  // First somewhere on the internet, then here: what a name says later is of no effect.
  'rebinding.example': [['192.0.2.1'], ['127.0.0.1']],
};

const test = (what: string, work: (world: World) => Promise<void>) => {
  testUnless(containers, why, what, async () => {
    const { asked, resolve } = fakeResolver(structuredClone(names));
    const node = await ContainerNode.open(undefined, { egress: { resolve } });
    const servers: Server[] = [];
    const sockets = new Set<Socket>();
    try {
      await work({
        node,
        asked,
        async up(allow, port = 8080) {
          const revision = await node.revision(shellLayers(), shellConfig(port), { allow: [...allow] });
          await node.driver.check(revision, 'it', () => {});
          return node.start(revision);
        },
        async serve(take, host) {
          const server = createServer({ allowHalfOpen: true }, (socket) => {
            sockets.add(socket);
            socket.on('error', () => {}).on('close', () => sockets.delete(socket));
            take(socket);
          });
          servers.push(server);
          return listen(server, host);
        },
      });
    } finally {
      await node.close();
      for (const socket of sockets) socket.destroy();
      for (const server of servers) server.close();
    }
  });
};

const hello = (socket: Socket) => {
  socket.once('data', () => socket.end('hello from outside\n'));
};

const here = (port: number) => [`here.example:${port}`, `127.0.0.1:${port}`];

test('an allowed name is reached at its allowed port, and its address is looked for only then', async (world) => {
  const port = await world.serve(hello);
  const closed = await world.serve(hello);
  const one = await world.up([...here(port), `127.0.0.1:${closed}`]);
  const known = await inside(
    one,
    `${TOOLS} at here.example; at HERE.Example.; busybox nslookup -type=aaaa here.example`,
  );
  const [first, second] = known.split('\n');
  assert.match(first as string, /^127\.\d+\.\d+\.\d+$/);
  assert.is(second, first);
  assert.not.match(known, /NXDOMAIN/);
  assert.equal(world.asked, []);
  assert.is(await inside(one, `${TOOLS} say here.example ${port}`), 'hello from outside\n');
  assert.equal(world.asked, ['here.example']);
  assert.not.match(await inside(one, `${TOOLS} say here.example ${closed}`), /hello/);
  assert.match(
    await world.node.log(one.revision.workload),
    new RegExp(`here.example:${closed} was refused: .*--allow`),
  );
});

test('other names are not there, and nobody is asked for them', async (world) => {
  const port = await world.serve(hello);
  const one = await world.up(here(port));
  const told = await inside(one, 'busybox nslookup other.example; busybox nslookup www.here.example');
  assert.is(told.match(/NXDOMAIN/g)?.length, 4, told);
  assert.equal(world.asked, []);
  assert.match(await world.node.log(one.revision.workload), /asked for other.example, which is not on its allow-list/);
});

test('a workload keeps its own port although it may reach the same one elsewhere', async (world) => {
  const port = await world.serve(hello);
  const one = await world.up(here(port), port);
  assert.is(await inside(one, `${TOOLS} say here.example ${port}`), 'hello from outside\n');
  assert.is(
    await inside(one, `echo "GET /no HTTP/1.0\n" | busybox nc 127.0.0.1 ${port} | busybox head -1`),
    'HTTP/1.1 404 Not Found\r\n',
  );
});

test('without an allow-list there is no name and no way', async (world) => {
  const port = await world.serve(hello);
  const one = await world.up([]);
  const told = await inside(one, `busybox nslookup here.example; echo hi | busybox nc 127.76.191.199 ${port}`);
  assert.not.match(told, /127\.(?!64\.0\.53|76\.191\.199)|hello/);
  assert.equal(world.asked, []);
});

test("loopback, private addresses and a name that changes its mind do not lead into the node's networks", async (world) => {
  const port = await world.serve(hello);
  const hosts = ['here.example', 'private.example', 'rebinding.example', 'a.wild.example'];
  const one = await world.up([
    `here.example:${port}`,
    `private.example:${port}`,
    `rebinding.example:${port}`,
    `*.wild.example:${port}`,
  ]);
  const script = [...hosts, 'rebinding.example'].map((host) => `say ${host} ${port}`).join('\n');
  assert.not.match(await inside(one, TOOLS + script), /hello/);
  const log = await world.node.log(one.revision.workload);
  for (const host of hosts) assert.match(log, new RegExp(`${host}.*special address`), host);
  // Its own loopback has nothing of the host's; all else is nowhere.
  const there = [
    '127.0.0.1',
    '127.0.0.53',
    '127.64.0.1',
    '127.64.0.53',
    '127.99.99.99',
    '10.0.0.1',
    '169.254.169.254',
    '8.8.8.8',
  ];
  const tried = await inside(
    one,
    there.map((address) => `echo hi | busybox timeout 5 busybox nc ${address} ${port}`).join('\n'),
  );
  assert.not.match(tried, /hello/);
});

test('an address on the list is reached as itself, and no other', async (world) => {
  const own = Object.values(networkInterfaces())
    .flat()
    .find((each) => each?.family === 'IPv4' && !each.internal)?.address;
  if (own === undefined) {
    console.log('skipped: an address on the list, since this machine has none but loopback');
    return;
  }
  const port = await world.serve(hello, '0.0.0.0');
  const one = await world.up([`${own}:${port}`]);
  assert.is(await inside(one, `echo hi | busybox nc ${own} ${port}`), 'hello from outside\n');
  assert.not.match(
    await inside(one, `echo hi | busybox timeout 5 busybox nc ${own} 1; echo hi | busybox nc 10.0.0.1 ${port}`),
    /hello/,
  );
});

test('both ways end by themselves, and a broken one is not taken for whole', async (world) => {
  const counting = await world.serve((socket) => {
    let bytes = 0;
    socket.on('data', (piece) => {
      bytes += piece.length;
    });
    socket.on('end', () => socket.end(`${bytes} bytes\n`));
  });
  const breaking = await world.serve((socket) =>
    socket.write('a part', () => setTimeout(() => socket.resetAndDestroy(), 50)),
  );
  const one = await world.up([...here(counting), ...here(breaking)]);
  const said = await inside(
    one,
    `${TOOLS} busybox head -c 20000000 /dev/zero | busybox nc $(at here.example) ${counting}`,
  );
  assert.is(said, '20000000 bytes\n');
  const address = (await inside(one, `${TOOLS} at here.example`)).trim();
  const pid = readFileSync(`${world.node.host.folder}/${one.id}/pid`, 'utf8');
  const network = await openNetworkNamespace(`/proc/${pid}/ns/net`);
  const client = new Client({ fd: await connectInside(network, address, breaking, 1000) });
  await closeFd(network);
  let got = '';
  client.on('data', (piece) => {
    got += piece;
  });
  const [error] = await once(client, 'error');
  assert.equal([got, error.code], ['a part', 'ECONNRESET']);
});

test('what is not taken waits where it comes from, and all of it arrives', async (world) => {
  let written = 0;
  const total = 64 * 2 ** 20;
  const port = await world.serve((socket) => {
    const piece = Buffer.alloc(2 ** 16, 120);
    const more = () => {
      while (written < total) {
        written += piece.length;
        if (!socket.write(piece)) return void socket.once('drain', more);
      }
      socket.end();
    };
    more();
  });
  const one = await world.up(here(port));
  const read = inside(
    one,
    `${TOOLS} busybox nc $(at here.example) ${port} </dev/null | (busybox sleep 2; busybox wc -c)`,
  );
  await pause(1500);
  assert.ok(written > 0 && written < total / 2, `${written} bytes were taken for a reader that sleeps`);
  assert.is((await read).trim(), String(total));
});

test('connections are bounded, those beyond wait, and all end with the container', async (world) => {
  let open = 0;
  let most = 0;
  const port = await world.serve((socket) => {
    most = Math.max(most, ++open);
    socket
      .on('close', () => open--)
      .on('end', () => socket.end())
      .resume();
  });
  const one = await world.up(here(port));
  const wanted = NETWORK_LIMITS.connections + 40;
  // All of them wait for the same input, which does not come.
  const each = `busybox nc $a ${port} <&3 >/dev/null 2>&1 & i=$((i+1))`;
  const all = `exec 3<&0; a=$(at here.example); i=0; while [ $i -lt ${wanted} ]; do ${each}; done; echo started >&2; wait`;
  void inside(one, `${TOOLS} busybox sleep 300 | (${all})`).catch(() => {});
  for (let i = 0; i < 200 && open < NETWORK_LIMITS.connections; i++) await pause(50);
  await pause(500);
  assert.is(most, NETWORK_LIMITS.connections);
  await one.stop(0);
  for (let i = 0; i < 200 && open > 0; i++) await pause(20);
  assert.is(open, 0);
});

test('a flood of questions, and of bytes that are none, costs it its own resolver for a while and nobody else', async (world) => {
  const port = await world.serve(hello);
  const [one, other] = [await world.up(here(port)), await world.up(here(port))];
  const flood = inside(
    one,
    'busybox timeout 3 busybox yes "no question at all" | busybox nc -u 127.64.0.53 53; echo over',
  );
  assert.is(await inside(other, `${TOOLS} say here.example ${port}`), 'hello from outside\n');
  assert.match(await flood, /over/);
  assert.is(await inside(one, `${TOOLS} say here.example ${port}`), 'hello from outside\n');
});

test('questions over TCP are answered, others end the connection', async (world) => {
  const one = await world.up(here(1));
  const asked = question('here.example');
  const bytes = (data: Buffer) =>
    `printf '${[...data].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')}'`;
  const stream = Buffer.concat([Buffer.from([0, asked.length]), asked]);
  const told = await inside(
    one,
    `(${bytes(Buffer.concat([stream, stream]))}; busybox sleep 1) | busybox nc 127.64.0.53 53 | busybox wc -c`,
  );
  assert.is(Number(told), 2 * (2 + asked.length + 16));
  for (const wrong of [Buffer.from([0xff, 0xff, 1]), Buffer.from([0, 3, 1, 2, 3])]) {
    assert.is(
      Number(
        await inside(one, `(${bytes(wrong)}; busybox sleep 1) | busybox nc 127.64.0.53 53 2>/dev/null | busybox wc -c`),
      ),
      0,
    );
  }
});

test('names below a wildcard are reached, each by an address of its own', async (world) => {
  const port = await world.serve(hello);
  const one = await world.up([`*.wild.example:${port}`, `127.0.0.1:${port}`]);
  assert.is(
    await inside(one, `${TOOLS} say a.wild.example ${port}; say b.wild.example ${port}`),
    'hello from outside\nhello from outside\n',
  );
  assert.equal(world.asked, ['a.wild.example', 'b.wild.example']);
  assert.match(await inside(one, 'busybox nslookup wild.example'), /NXDOMAIN/);
});

test('after a node that was killed the next one lets out the same, at the same addresses', async (world) => {
  const port = await world.serve(hello);
  const one = await world.up(here(port));
  const { revision } = one;
  const before = await inside(one, `${TOOLS} at here.example`);
  const held = inside(one, `echo $(busybox sleep 3 | busybox nc ${before.trim()} ${port} 2>&1)`).catch(
    () => 'broken off',
  );
  await pause(200);
  await world.node.driver.close();
  await world.node.logs.close();
  const next = await ContainerNode.open(world.node.folder, {
    egress: { resolve: fakeResolver(structuredClone(names)).resolve },
  });
  await next.driver.recover(() => true);
  const again = await next.start(revision as RevisionDocument);
  assert.is(again.id, one.id);
  assert.is(await inside(again, `${TOOLS} at here.example`), before);
  assert.is(await inside(again, `${TOOLS} say here.example ${port}`), 'hello from outside\n');
  await again.stop(0);
  await held;
  assert.equal(next.left(), []);
});

test('containers that come and go leave no file of the node open', async (world) => {
  const port = await world.serve(hello);
  const once = async () => {
    const one = await world.up(here(port));
    assert.is(await inside(one, `${TOOLS} say here.example ${port}`), 'hello from outside\n');
    await one.stop(0);
  };
  await once();
  const before = await openFiles();
  for (let i = 0; i < 5; i++) await once();
  await noMoreFilesThan(before);
});

test('a program with the C library finds allowed names in the files that it was given', async (world) => {
  const libraries = ['/lib/x86_64-linux-gnu/libc.so.6', '/lib64/ld-linux-x86-64.so.2'];
  if (![...libraries, '/usr/bin/getent'].every((path) => existsSync(path)))
    return console.log('skipped: a program with the C library, since there is none here');
  const copies = libraries.map((path) => file(path.slice(1), readFileSync(path), { mode: 0o755 }));
  const folders = ['lib/', 'lib/x86_64-linux-gnu/', 'lib64/'].map((path) => folder(path));
  const layer = layerOf([...folders, ...copies, file('bin/getent', readFileSync('/usr/bin/getent'), { mode: 0o755 })]);
  const revision = await world.node.revision([...shellLayers(), layer], shellConfig(), { allow: ['here.example'] });
  const one = await world.node.start(revision);
  const told = await inside(
    one,
    'getent ahostsv4 here.example; getent ahosts HERE.example.; getent hosts localhost; getent ahosts no.example; echo $?',
  );
  assert.match(told, /^127\.76\.191\.199 +STREAM here\.example\n/);
  assert.match(told, /\n2\n$/);
});

containers.run();
