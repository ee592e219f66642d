/** The least that a proxy to a container is: node:http on both sides, connections kept. Arguments: its port, the container's. */
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { NetworkNamespace } from '../../daemon/hostd/network-namespaces.ts';
import { connectInside } from '../../native/host/index.ts';

const [port, target] = process.argv.slice(2).map(Number) as [number, number];

/** The first process whose program is busybox's httpd in a container of a node. */
function containerPid(): number {
  for (const node of readdirSync('/run/skerry')) {
    for (const id of readdirSync(`/run/skerry/${node}`)) {
      if (id.startsWith('bench-')) return Number(readFileSync(`/run/skerry/${node}/${id}/pid`, 'utf8'));
    }
  }
  throw new Error('no container runs');
}

const network = await NetworkNamespace.of(containerPid());

class Inside extends Agent {
  override createConnection(_options: unknown, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    connectInside(network.fd, '127.0.0.1', target, 5000).then(
      (fd) => callback?.(null, new Socket({ fd })),
      (error: Error) => callback?.(error, undefined as never),
    );
  }
}

const agent = new Inside({ keepAlive: true });
createServer((incoming, response) => {
  const { method, url, headers } = incoming;
  const asked = request({ agent, method, path: url, headers }, (answer) => {
    response.writeHead(answer.statusCode as number, answer.headers);
    answer.pipe(response);
  });
  asked.on('error', () => response.destroy());
  incoming.pipe(asked);
}).listen(port, '127.0.0.1');
