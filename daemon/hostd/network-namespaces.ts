/** Networks of containers and machines: a loopback, or a wire to one machine, reached from outside by sockets that are made inside. */
import {
  addAddressInside,
  bindUdpInside,
  closeFd,
  deliverAllInside,
  listenInside,
  makeNetworkNamespace,
  openNetworkNamespace,
  openTap,
  socketsInside,
  steerStreams,
} from '../../native/host/index.ts';
import type { OutboundSockets } from '../../runtime/drivers/container/host.ts';
import { RESOLVER_ADDRESS, RESOLVER_PORT } from '../../runtime/network/addresses.ts';
import { FIRST_SOCKETS } from '../../runtime/network/inner-sockets.ts';
import { hostErrors } from './errors.ts';

/** Of the socket that streams are steered to: nobody asks for it by that, and nobody else wants it. */
const STREAMS_PORT = 1;

/** A network namespace, as long as it is open here or somebody is in it. */
export class NetworkNamespace {
  readonly fd: number;
  readonly #resolver: string;
  #closed = false;
  /** Made, and not given to the node yet. */
  #waiting: OutboundSockets | null = null;
  /** While it is open streams are steered. */
  #steering: number | null = null;
  /** Sockets that nobody has asked for yet. */
  #prepared: Promise<number[]> | null = null;

  private constructor(fd: number, resolver = RESOLVER_ADDRESS) {
    this.fd = fd;
    this.#resolver = resolver;
  }

  /** `resolver`: the address in it that is asked for names. */
  static async make(resolver?: string): Promise<NetworkNamespace> {
    return new NetworkNamespace(await makeNetworkNamespace(), resolver);
  }

  /** The one that a process is in. */
  static async of(pid: number): Promise<NetworkNamespace> {
    return new NetworkNamespace(await openNetworkNamespace(`/proc/${pid}/ns/net`));
  }

  /** Makes those that are asked for first, while there is something else to wait for. */
  prepareSockets(): void {
    if (this.#closed) return;
    this.#prepared ??= socketsInside(this.fd, FIRST_SOCKETS);
    // Told to who asks for them.
    this.#prepared.catch(() => {});
  }

  /** Descriptors of sockets in it that are not connected yet. */
  async sockets(count: number): Promise<number[]> {
    if (this.#closed) throw Object.assign(new Error('the network is gone'), { code: 'ENETUNREACH' });
    const prepared = this.#prepared;
    if (prepared === null || count !== FIRST_SOCKETS) return socketsInside(this.fd, count);
    this.#prepared = null;
    return prepared;
  }

  /** Addresses beside its loopback that are in it too, so that there is a way to them. */
  async addAddresses(addresses: readonly string[]): Promise<void> {
    for (const [index, address] of addresses.entries()) await addAddressInside(this.fd, index, address);
  }

  /**
   * The wire to a machine: a descriptor for frames, which the caller closes. All that comes over it is for the node where
   * `toNode`; else nobody takes it.
   */
  async openWire(
    { host, prefix }: { readonly host: string; readonly prefix: number },
    toNode: boolean,
  ): Promise<number> {
    const tap = await openTap(this.fd, 'wire', { address: { host, prefix }, vnetHeader: true });
    try {
      if (toNode) await deliverAllInside(this.fd);
      return tap;
    } catch (error) {
      await closeFd(tap);
      throw error;
    }
  }

  /** From here on what is sent out of it waits for the node. */
  async openOutbound(): Promise<void> {
    this.#waiting ??= await this.#makeOutbound();
  }

  /** The sockets of `openOutbound`, or others, since a node that has ended took them with it. The caller closes them. */
  async takeOutbound(): Promise<OutboundSockets> {
    const sockets = this.#waiting ?? (await this.#makeOutbound());
    this.#waiting = null;
    return sockets;
  }

  async #makeOutbound(): Promise<OutboundSockets> {
    if (this.#closed) throw Object.assign(new Error('the network is gone'), { code: 'ENETUNREACH' });
    const streams = await listenInside(this.fd, this.#resolver, STREAMS_PORT);
    try {
      const queries = await bindUdpInside(this.fd, this.#resolver, RESOLVER_PORT);
      try {
        const before = this.#steering;
        this.#steering = null;
        if (before !== null) await closeFd(before);
        this.#steering = await steerStreams(this.fd, streams).catch((error: Error) => {
          throw hostErrors.OUTBOUND_UNAVAILABLE(error.message).because(error);
        });
      } catch (error) {
        await closeFd(queries);
        throw error;
      }
      return { streams, queries };
    } catch (error) {
      await closeFd(streams);
      throw error;
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const { streams, queries } = this.#waiting ?? {};
    const open = [streams, queries, this.#steering ?? undefined, this.fd];
    const prepared = (await this.#prepared?.catch(() => [])) ?? [];
    await Promise.all([...open, ...prepared].flatMap((fd) => (fd === undefined ? [] : [closeFd(fd)])));
  }
}
