/** The node reaches into the network of a workload, and the workload cannot reach out. */
import { execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import {
  bindUdpInside,
  closeFd,
  connectInside,
  deliverAllInside,
  listenInside,
  makeNetworkNamespace,
  openNetworkNamespace,
  openTap,
} from '../../../native/host/index.ts';
import { hostSuite, noMoreFilesThan, openFiles, refused } from '../../support/host-suite.ts';

const run = promisify(execFile);
const { test, run: start } = hostSuite('network namespaces');
const IP = '/sbin/ip';

/** What a command says that runs inside the namespace. */
async function inside(network: number, ...command: string[]): Promise<string> {
  const path = `/proc/${process.pid}/fd/${network}`;
  return (await run('nsenter', [`--net=${path}`, ...command])).stdout;
}

async function read(socket: Socket): Promise<string> {
  let text = '';
  for await (const piece of socket) text += piece;
  return text;
}

test('a new one has loopback only, up, with every port open to every user', ['root', IP], async () => {
  const network = await makeNetworkNamespace();
  const links = JSON.parse(await inside(network, IP, '-j', 'link'));
  assert.equal(
    links.map((link: { ifname: string }) => link.ifname),
    ['lo'],
  );
  assert.ok(links[0].flags.includes('UP'));
  assert.is((await inside(network, 'cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start')).trim(), '0');
  assert.is(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8').trim(), '1024');
  await closeFd(network);
});

test('what listens there is answered by the node, and reached by it', ['root'], async () => {
  const network = await makeNetworkNamespace();
  const server = createServer((socket) => socket.end('from inside'));
  server.listen({ fd: await listenInside(network, '127.0.0.1', 80) });
  await once(server, 'listening');
  const socket = new Socket({ fd: await connectInside(network, '127.0.0.1', 80, 1000) });
  assert.is(await read(socket), 'from inside');
  // Outside there is no such port, and the node's own ports are not inside.
  const outside = new Socket().connect(80, '127.0.0.1');
  assert.is((await once(outside, 'error'))[0].code, 'ECONNREFUSED');
  const own = createServer().listen(0, '127.0.0.1');
  await once(own, 'listening');
  const { port } = own.address() as { port: number };
  assert.is((await refused(connectInside(network, '127.0.0.1', port, 1000))).code, 'ECONNREFUSED');
  own.close();
  server.close();
  await closeFd(network);
});

test('IPv6 loopback works as well', ['root'], async () => {
  const network = await makeNetworkNamespace();
  const server = createServer((socket) => socket.end('six'));
  server.listen({ fd: await listenInside(network, '::1', 443) });
  await once(server, 'listening');
  assert.is(await read(new Socket({ fd: await connectInside(network, '::1', 443, 1000) })), 'six');
  server.close();
  await closeFd(network);
});

test('a resolver of the node answers on UDP port 53 inside', ['root'], async () => {
  const network = await makeNetworkNamespace();
  const resolver = createSocket('udp4').bind({ fd: await bindUdpInside(network, '127.0.0.1', 53) });
  const client = createSocket('udp4').bind({ fd: await bindUdpInside(network, '127.0.0.1', 0) });
  resolver.on('message', (question, { port, address }) => resolver.send(`answer to ${question}`, port, address));
  client.send('a question', 53, '127.0.0.1');
  assert.is(String((await once(client, 'message'))[0]), 'answer to a question');
  resolver.close();
  client.close();
  await closeFd(network);
});

test('the namespace of a process is opened by its path', ['root'], async () => {
  const network = await makeNetworkNamespace();
  const path = `/proc/${process.pid}/fd/${network}`;
  const child = spawn('nsenter', [`--net=${path}`, 'sh', '-c', 'echo ready; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(child.stdout, 'data');
  const opened = await openNetworkNamespace(`/proc/${child.pid}/ns/net`);
  assert.is(readlinkSync(`/proc/self/fd/${opened}`), readlinkSync(`/proc/self/fd/${network}`));
  assert.is.not(readlinkSync(`/proc/self/fd/${opened}`), readlinkSync('/proc/self/ns/net'));
  child.kill();
  await once(child, 'exit');
  await Promise.all([closeFd(opened), closeFd(network)]);
});

test('failures say what happened and what to do', ['root'], async () => {
  const network = await makeNetworkNamespace();
  const nobody = await refused(connectInside(network, '127.0.0.1', 9999, 1000));
  assert.is(nobody.code, 'ECONNREFUSED');
  assert.is(nobody.path, '127.0.0.1:9999');
  assert.match(nobody.advice, /listens on this port/);
  const away = await refused(connectInside(network, '192.0.2.1', 80, 1000));
  assert.is(away.code, 'ENETUNREACH');
  assert.is(away.path, '192.0.2.1:80');
  assert.is((await refused(connectInside(network, 'localhost', 80, 1000))).code, 'EINVAL');
  assert.is((await refused(connectInside(network, '127.0.0.1', 70_000, 1000))).code, 'EINVAL');
  const first = await listenInside(network, '127.0.0.1', 80);
  assert.is((await refused(listenInside(network, '127.0.0.1', 80))).code, 'EADDRINUSE');
  assert.is((await refused(listenInside(network, '192.0.2.1', 80))).code, 'EADDRNOTAVAIL');
  const none = await refused(openNetworkNamespace('/proc/999999999/ns/net'));
  assert.is(none.code, 'ENOENT');
  assert.is(none.path, '/proc/999999999/ns/net');
  assert.is((await refused(openNetworkNamespace('/proc/self/ns/uts'))).code, 'EINVAL');
  assert.is((await refused(openNetworkNamespace('/dev/null'))).code, 'EINVAL');
  assert.is((await refused(connectInside(999_999, '127.0.0.1', 80, 1000))).code, 'EBADF');
  await Promise.all([closeFd(first), closeFd(network)]);
});

test('a connection that is not answered ends at its time, and the node goes on meanwhile', ['root'], async () => {
  const network = await makeNetworkNamespace();
  // With room for none waiting, the second or third is not answered.
  const listener = await listenInside(network, '127.0.0.1', 80, 0);
  const before = await openFiles();
  let turns = 0;
  const timer = setInterval(() => turns++, 5);
  const started = Date.now();
  const done = await Promise.allSettled(Array.from({ length: 4 }, () => connectInside(network, '127.0.0.1', 80, 200)));
  clearInterval(timer);
  const codes = done.filter((each) => each.status === 'rejected').map(({ reason }) => reason.code);
  assert.ok(codes.length >= 2, `${codes.length} were not answered`);
  assert.ok(codes.every((code) => code === 'ETIMEDOUT'));
  assert.ok(Date.now() - started < 2000);
  assert.ok(turns > 10, `${turns} turns of a timer`);
  for (const each of done) if (each.status === 'fulfilled') await closeFd(each.value);
  await noMoreFilesThan(before);
  await Promise.all([closeFd(listener), closeFd(network)]);
});

test(
  'a tap inside carries frames to the node, and goes with its descriptor',
  ['root', '/dev/net/tun', IP],
  async () => {
    const network = await makeNetworkNamespace();
    const tap = await openTap(network, 'tap0', { address: { host: '10.9.8.1', prefix: 30 } });
    const links = JSON.parse(await inside(network, IP, '-j', '-4', 'addr', 'show', 'dev', 'tap0'));
    assert.ok(links[0].flags.includes('UP'));
    assert.is(links[0].addr_info[0].local, '10.9.8.1');
    assert.is(links[0].addr_info[0].prefixlen, 30);
    assert.is((await refused(openTap(network, 'tap0'))).code, 'EBUSY');
    assert.is((await refused(openTap(network, 'a-name-that-is-too-long'))).code, 'EINVAL');
    assert.is((await refused(openTap(network, 'tap1', { address: { host: '::1', prefix: 64 } }))).code, 'EINVAL');
    await closeFd(tap);
    assert.is(JSON.parse(await inside(network, IP, '-j', 'link')).length, 1);
    const again = await openTap(network, 'tap0', { vnetHeader: true });
    await Promise.all([closeFd(again), closeFd(network)]);
  },
);

test('a hundred at once: none is left, and this process stays in its own', ['root'], async () => {
  const own = readlinkSync('/proc/self/ns/net');
  const before = await openFiles();
  const networks = await Promise.all(Array.from({ length: 100 }, () => makeNetworkNamespace()));
  const listeners = await Promise.all(networks.map((network) => listenInside(network, '127.0.0.1', 80)));
  await Promise.all(networks.map((network) => connectInside(network, '127.0.0.1', 80, 5000).then(closeFd)));
  await Promise.all([...networks, ...listeners].map(closeFd));
  await noMoreFilesThan(before);
  for (const task of readdirSync('/proc/self/task')) {
    assert.is(readlinkSync(`/proc/self/task/${task}/ns/net`), own);
  }
});

test('what comes to any address is delivered inside, but what a device leads to', ['root', IP], async () => {
  const network = await makeNetworkNamespace();
  const tap = await openTap(network, 'wire', { address: { host: '192.0.0.1', prefix: 30 } });
  await deliverAllInside(network);
  assert.is((await refused(deliverAllInside(network))).code, 'EEXIST');
  const route = async (address: string) => (await inside(network, IP, 'route', 'get', address)).split('\n')[0] ?? '';
  assert.match(await route('198.51.100.7'), /^local 198\.51\.100\.7 /);
  assert.match(await route('192.0.0.2'), /^192\.0\.0\.2 dev wire /);
  await Promise.all([tap, network].map(closeFd));
});

start();
