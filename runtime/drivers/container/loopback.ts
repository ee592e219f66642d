/** Connections to the loopback of a container. */
import { Socket } from 'node:net';
import { closeFd, connectSocket } from '../../../native/host/index.ts';
import { FIRST_SOCKETS, type HostedContainer } from './host.ts';

const ADDRESS = '127.0.0.1';
/** As many as a container gives at once. */
const MOST = 16;

/**
 * Makes connections from sockets that the container gave in advance: to get one takes a message to hostd and a thread there, to
 * connect it neither. The more are used, the more are asked for at once; most containers are reached over a few that stay open.
 */
export class Loopback {
  readonly #container: Pick<HostedContainer, 'sockets' | 'exited'>;
  #spare: number[] = [];
  #count = FIRST_SOCKETS;
  #asking: Promise<void> | null = null;
  #closed = false;

  constructor(container: Pick<HostedContainer, 'sockets' | 'exited'>) {
    this.#container = container;
    void container.exited.then(() => this.close());
  }

  /** Rejects with the system's error: ECONNREFUSED when nobody listens. */
  async connect(port: number, timeoutMs: number): Promise<Socket> {
    const fd = await this.#take();
    try {
      await connectSocket(fd, ADDRESS, port, timeoutMs);
      return new Socket({ fd, readable: true, writable: true });
    } catch (error) {
      await closeFd(fd);
      throw error;
    }
  }

  /** Gives back what nobody used. */
  close(): void {
    this.#closed = true;
    for (const fd of this.#spare.splice(0)) void closeFd(fd).catch(() => {});
  }

  async #take(): Promise<number> {
    for (;;) {
      const fd = this.#spare.pop();
      if (fd !== undefined) {
        if (this.#spare.length < this.#count / 4) this.#ask().catch(() => {});
        return fd;
      }
      if (this.#closed) throw Object.assign(new Error('the container has ended'), { code: 'ENETUNREACH' });
      await this.#ask();
    }
  }

  #ask(): Promise<void> {
    this.#asking ??= this.#container
      .sockets(this.#count)
      .then((fds) => {
        this.#count = Math.min(MOST, this.#count * 2);
        this.#spare.push(...fds);
        if (this.#closed) this.close();
      })
      .finally(() => {
        this.#asking = null;
      });
    return this.#asking;
  }
}
