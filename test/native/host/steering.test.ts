/** Connections inside a network namespace are given to one socket, whatever address and port they are made to. */
import { createServer, Socket } from 'node:net';
import * as assert from 'uvu/assert';
import {
  addAddressInside,
  closeFd,
  connectInside,
  listenInside,
  makeNetworkNamespace,
  steerStreams,
} from '../../../native/host/index.ts';
import { hostSuite, noMoreFilesThan, openFiles, refused } from '../../support/host-suite.ts';

const { test, run } = hostSuite('steering connections');

/** What is said by whoever takes a connection there, or the code of its failure. */
async function said(network: number, host: string, port: number): Promise<string> {
  let text = '';
  try {
    for await (const piece of new Socket({ fd: await connectInside(network, host, port, 1000) })) text += piece;
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
  return text;
}

test('those to names and to other addresses are steered, those to loopback are not', ['root'], async () => {
  const before = await openFiles();
  const network = await makeNetworkNamespace();
  await addAddressInside(network, 0, '10.1.2.3');
  await addAddressInside(network, 1, '192.0.2.7');
  const listener = await listenInside(network, '127.64.0.53', 1);
  const steering = await steerStreams(network, listener);
  const steered = createServer((socket) => socket.end(`${socket.localAddress}:${socket.localPort}`));
  steered.listen({ fd: listener });
  // As a workload does that listens everywhere, at a port that it also calls.
  const own = createServer((socket) => socket.end('its own'));
  own.listen({ fd: await listenInside(network, '0.0.0.0', 443) });
  for (const address of ['127.64.0.1', '127.100.7.9', '127.127.255.255', '10.1.2.3', '192.0.2.7']) {
    assert.is(await said(network, address, 443), `${address}:443`);
  }
  for (const address of ['127.0.0.1', '127.63.255.255', '127.128.0.0']) {
    assert.is(await said(network, address, 443), 'its own', address);
    assert.is(await said(network, address, 80), 'ECONNREFUSED', address);
  }
  assert.is(await said(network, '198.51.100.1', 443), 'ENETUNREACH');
  assert.is(await said(network, '::1', 443), 'ECONNREFUSED');
  // Without the listener they are nobody's, not the workload's; without the steering they are as ever.
  await new Promise((resolve) => steered.close(resolve));
  assert.is(await said(network, '127.64.0.1', 443), 'ECONNREFUSED');
  await closeFd(steering);
  assert.is(await said(network, '127.64.0.1', 443), 'its own');
  await new Promise((resolve) => own.close(resolve));
  await closeFd(network);
  await noMoreFilesThan(before);
});

test('what is no listener or no namespace is refused', ['root'], async () => {
  const network = await makeNetworkNamespace();
  assert.ok(await refused(steerStreams(network, network)));
  const listener = await listenInside(network, '127.0.0.1', 0);
  assert.is((await refused(steerStreams(listener, listener))).syscall, 'bpf');
  assert.is((await refused(addAddressInside(network, 0, '::1'))).code, 'EINVAL');
  assert.is((await refused(addAddressInside(network, 0, 'example.com'))).code, 'EINVAL');
  await Promise.all([closeFd(listener), closeFd(network)]);
});

run();
