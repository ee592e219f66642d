/** Networks of containers: a loopback and nothing else, reached from outside by sockets that are made inside. */
import { closeFd, makeNetworkNamespace, openNetworkNamespace, socketsInside } from '../../native/host/index.ts';

/** A network namespace, as long as it is open here or somebody is in it. */
export class NetworkNamespace {
  readonly fd: number;
  #closed = false;

  private constructor(fd: number) {
    this.fd = fd;
  }

  static async make(): Promise<NetworkNamespace> {
    return new NetworkNamespace(await makeNetworkNamespace());
  }

  /** The one that a process is in. */
  static async of(pid: number): Promise<NetworkNamespace> {
    return new NetworkNamespace(await openNetworkNamespace(`/proc/${pid}/ns/net`));
  }

  /** Descriptors of sockets in it that are not connected yet. */
  async sockets(count: number): Promise<number[]> {
    if (this.#closed) throw Object.assign(new Error('the network is gone'), { code: 'ENETUNREACH' });
    return socketsInside(this.fd, count);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await closeFd(this.fd);
  }
}
