/** Connections to what listens in the network of a workload. */
import { Socket } from 'node:net';
import { closeFd, connectSocket } from '../../native/host/index.ts';

/** As many sockets are asked for first, so that they can be ready: a check whether it is ready, and a request. */
export const FIRST_SOCKETS = 2;
/** As many as the host gives at once. */
const MOST = 16;

/** A container or a machine, as its host has it. */
interface Inner {
  /** Descriptors of TCP sockets in its network that are not connected yet. */
  sockets(count: number): Promise<number[]>;
  readonly exited: Promise<unknown>;
}

/**
 * Makes connections from sockets that the host gave in advance: to get one takes a message to hostd and a thread there, to
 * connect it neither. The more are used, the more are asked for at once; most workloads are reached over a few that stay open.
 */
export class InnerSockets {
  readonly #inner: Inner;
  readonly #address: string;
  #spare: number[] = [];
  #count = FIRST_SOCKETS;
  #asking: Promise<void> | null = null;
  #closed = false;

  /** `address`: where it listens. */
  constructor(inner: Inner, address = '127.0.0.1') {
    this.#inner = inner;
    this.#address = address;
    void inner.exited.then(() => this.close());
  }

  /** Rejects with the system's error: ECONNREFUSED when nobody listens. */
  async connect(port: number, timeoutMs: number): Promise<Socket> {
    const fd = await this.#take();
    try {
      await connectSocket(fd, this.#address, port, timeoutMs);
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
      if (this.#closed) throw Object.assign(new Error('the workload has ended'), { code: 'ENETUNREACH' });
      await this.#ask();
    }
  }

  #ask(): Promise<void> {
    this.#asking ??= this.#inner
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
