/**
 * What a workload with a network of its own sends beyond itself. Its names stand for addresses of its own loopback; a
 * connection to one of them comes to the node (`native/host/steering.ts`), which looks what the name is, whether the
 * workload may go there, and only then where that is.
 */
import { createServer, type Socket } from 'node:net';
import { SkerryError } from '../../errors/skerry-error.ts';
import type { AllowList } from '../egress/allow-list.ts';
import type { Connector } from '../egress/connector.ts';
import { asEgressFailure } from '../egress/failure.ts';
import { formatHost, type Host } from '../egress/host.ts';
import { workloadNamed } from '../egress/internal-name.ts';
import { LOOPBACK_ADDRESSES, NamedAddresses, type NetworkAddresses, RESOLVER_PORT } from './addresses.ts';
import { Intake } from './intake.ts';
import { NETWORK_LIMITS, NETWORK_TIMEOUTS } from './limits.ts';
import { answerDatagrams, answerStream, type Names } from './name-server.ts';
import type { Neighbours } from './neighbours.ts';
import { breakOff, splice } from './splice.ts';

export interface OutboundOptions {
  /** Whose it is. */
  readonly workload: string;
  readonly allow: AllowList;
  readonly connector: Pick<Connector, 'connect'>;
  readonly neighbours: Neighbours;
  /** Of its network; those of a loopback when left out. */
  readonly addresses?: NetworkAddresses;
  /** What was refused or failed and why, for its developer: the same is told once, and so much of it at most. */
  readonly tell: (message: string) => void;
}

/** Sockets inside its network, as descriptors (`OutboundSockets` of the container driver's host). */
export interface Sockets {
  readonly streams: number;
  readonly queries: number;
}

export class OutboundNetwork implements Names {
  readonly #options: OutboundOptions;
  readonly #addresses: NamedAddresses;
  readonly #resolver: string;
  readonly #kept: ReadonlySet<string>;
  readonly #streams: Intake;
  readonly #queries: Intake;
  readonly #connections = new Set<Socket>();
  readonly #closing = new AbortController();
  readonly #told = new Set<string>();

  /** Owns the descriptors. */
  constructor({ streams, queries }: Sockets, options: OutboundOptions) {
    this.#options = options;
    const { resolver, names } = options.addresses ?? LOOPBACK_ADDRESSES;
    this.#resolver = resolver;
    this.#addresses = new NamedAddresses(NETWORK_LIMITS.wildcardNames, NETWORK_TIMEOUTS.wildcardKeep, names);
    this.#kept = new Set(options.allow.exact);
    // In the list's order, which is that of the revision: where two names make the same address, the same one gets it.
    for (const name of this.#kept) this.#addresses.keep(name);
    this.#queries = new Intake(queries, NETWORK_LIMITS.queries, (fd) =>
      answerDatagrams(fd, this, () => this.#queries.count()),
    );
    this.#streams = new Intake(streams, NETWORK_LIMITS.newConnections, (fd) => {
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
        this.#enter(socket);
      });
      server.on('error', () => {});
      return server.listen({ fd });
    });
  }

  /** Breaks off every connection. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([this.#streams.close(), this.#queries.close()]);
  }

  allows(name: string): boolean {
    return this.#options.allow.permitsSome({ name, isAddress: false });
  }

  addressOf(name: string): string | null {
    return this.#kept.has(name) ? this.#addresses.keep(name) : this.#addresses.lend(name, performance.now());
  }

  refused(name: string): void {
    this.#tell(`it asked for ${name}, which is not on its allow-list: deploy it with --allow ${name}`);
  }

  #enter(socket: Socket): void {
    this.#connections.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#connections.delete(socket);
      this.#note();
    });
    this.#streams.count();
    this.#note();
    void this.#serve(socket);
  }

  #note(): void {
    this.#streams.full = this.#connections.size >= NETWORK_LIMITS.connections;
  }

  async #serve(socket: Socket): Promise<void> {
    const { localAddress = '', localPort = 0 } = socket;
    if (localAddress === this.#resolver) {
      if (localPort === RESOLVER_PORT) return answerStream(socket, this, () => this.#queries.count());
      return breakOff(socket);
    }
    const host = this.#hostAt(localAddress);
    if (!host) return breakOff(socket);
    const destination = `${formatHost(host)}:${localPort}`;
    if (!this.#options.allow.permits(host, localPort)) {
      this.#tell(`its connection to ${destination} was refused: deploy it with --allow ${destination}`);
      return breakOff(socket);
    }
    try {
      await this.#forward(socket, host, localPort);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      const why = error instanceof SkerryError ? error.what : asEgressFailure(error).message;
      this.#tell(`its connection to ${destination} failed: ${why}`);
      breakOff(socket);
    }
  }

  async #forward(socket: Socket, host: Host, port: number): Promise<void> {
    const { workload: caller, connector, neighbours } = this.#options;
    const { signal } = this.#closing;
    const callee = host.isAddress ? null : workloadNamed(host.name);
    if (callee !== null && port === neighbours.httpPort) return neighbours.serve(socket, { caller, callee });
    const far = await connector.connect({ host, port }, signal);
    if (signal.aborted || socket.destroyed) return breakOff(far);
    splice(socket, far, NETWORK_TIMEOUTS.idle);
  }

  /** What an address in its network stands for. */
  #hostAt(address: string): Host | null {
    const name = this.#addresses.nameOf(address);
    if (name !== undefined) return { name, isAddress: false };
    // A connection that has broken already has none.
    return address === '' || address.startsWith('127.') || this.#addresses.covers(address)
      ? null
      : { name: address, isAddress: true };
  }

  #tell(message: string): void {
    if (this.#told.size >= NETWORK_LIMITS.messages || this.#told.has(message)) return;
    this.#told.add(message);
    this.#options.tell(message);
  }
}
