/** Networks of containers: a loopback and nothing else, reached from outside by sockets that are made inside. */
import { closeFd, connectInside, makeNetworkNamespace, openNetworkNamespace } from '../../native/host/index.ts';

const LOOPBACK = '127.0.0.1';

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

  /** A descriptor of a connection to its loopback. Rejects with the system's error as `code`. */
  async connect(port: number, timeoutMs: number): Promise<number> {
    if (this.#closed) throw Object.assign(new Error('the network is gone'), { code: 'ENETUNREACH' });
    return connectInside(this.fd, LOOPBACK, port, timeoutMs);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await closeFd(this.fd);
  }
}
