/** A proxy of TCP that counts what goes through it: the bytes on the socket between two nodes. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export class CountingProxy {
  /** `HOST:PORT`. */
  readonly address: string;
  readonly #server: Server;
  readonly #open: Set<Socket>;
  readonly #count: { bytes: number };

  private constructor(address: string, server: Server, open: Set<Socket>, count: { bytes: number }) {
    this.address = address;
    this.#server = server;
    this.#open = open;
    this.#count = count;
  }

  /** @param to `HOST:PORT` */
  static async start(to: string): Promise<CountingProxy> {
    const { hostname, port } = new URL(`http://${to}`);
    const open = new Set<Socket>();
    const count = { bytes: 0 };
    const server = createServer((near) => {
      const far = connect(Number(port), hostname);
      for (const [from, other] of [
        [near, far],
        [far, near],
      ] as const) {
        open.add(from);
        from.on('data', (piece: Buffer) => {
          count.bytes += piece.length;
        });
        from.on('error', () => {});
        from.on('close', () => {
          open.delete(from);
          other.destroy();
        });
        from.pipe(other);
      }
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    return new CountingProxy(address, server, open, count);
  }

  /** Both ways, since the last time that they were taken. */
  takeBytes(): number {
    const { bytes } = this.#count;
    this.#count.bytes = 0;
    return bytes;
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
