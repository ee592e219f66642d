import { Socket } from 'node:net';
import type { NetworkNamespace } from '../../daemon/hostd/network-namespaces.ts';
import { connectInside } from '../../native/host/index.ts';

/** Asks again each millisecond until something in a network has answered to the end. `over`: nothing will, any more. */
export async function firstAnswer({ fd }: NetworkNamespace, port: number, over: () => boolean): Promise<void> {
  while (!over()) {
    try {
      const socket = new Socket({ fd: await connectInside(fd, '127.0.0.1', port, 1000) });
      await new Promise((resolve) => {
        socket.end('GET / HTTP/1.0\r\n\r\n');
        socket.resume().once('close', resolve);
      });
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  throw new Error('it ended before it answered');
}
