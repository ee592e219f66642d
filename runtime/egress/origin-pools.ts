/** The connections of one function, a pool for each origin it talks to. */
import { setMaxListeners } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Pool } from 'undici';
import type { Connector, Destination } from './connector.ts';
import { asEgressFailure, EgressFailure } from './failure.ts';
import { formatHost } from './host.ts';
import { EGRESS_LIMITS, EGRESS_TIMEOUTS } from './limits.ts';

export interface OriginPool {
  readonly pool: Pool;
  /** Calls that hold it: it is kept while there are any. */
  holders: number;
  /** Its server speaks HTTP/2. */
  h2: boolean;
}

export class OriginPools {
  readonly #connector: Connector;
  readonly #Pool: typeof Pool;
  /** By origin, the one longest unused first. */
  readonly #pools = new Map<string, OriginPool>();
  readonly #closing = new AbortController();

  constructor(connector: Connector, undici: { readonly Pool: typeof Pool }) {
    this.#connector = connector;
    this.#Pool = undici.Pool;
    // Each connection that is being made listens.
    setMaxListeners(0, this.#closing.signal);
  }

  /** The pool of an origin, held; give it back with `release`. Throws connection-limit-reached, HTTP-request-denied. */
  hold(scheme: 'http' | 'https', destination: Destination): OriginPool {
    // Also where a connection is open already: the list is what decides, not who came first.
    this.#connector.check(destination);
    const origin = `${scheme}://${formatHost(destination.host)}:${destination.port}`;
    let held = this.#pools.get(origin);
    if (held) this.#pools.delete(origin);
    else {
      this.#makeRoom();
      held = this.#make(origin, scheme, destination);
    }
    this.#pools.set(origin, held);
    held.holders++;
    return held;
  }

  release(held: OriginPool): void {
    held.holders--;
  }

  /** Ends all connections; what runs on them fails. */
  async close(reason: EgressFailure): Promise<void> {
    this.#closing.abort(reason);
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map(({ pool }) => pool.destroy(reason)));
  }

  #makeRoom(): void {
    if (this.#pools.size < EGRESS_LIMITS.origins) return;
    for (const [origin, held] of this.#pools) {
      if (held.holders > 0) continue;
      this.#pools.delete(origin);
      void held.pool.destroy();
      return;
    }
    throw new EgressFailure(
      'connection-limit-reached',
      `the function talks to ${EGRESS_LIMITS.origins} origins at once already`,
    );
  }

  #make(origin: string, scheme: 'http' | 'https', destination: Destination): OriginPool {
    const { signal } = this.#closing;
    const open = (): Promise<Duplex> =>
      scheme === 'https'
        ? this.#connector.connectSecurely(destination, ['h2', 'http/1.1'], signal)
        : this.#connector.connect(destination, signal);
    const made: OriginPool = {
      holders: 0,
      h2: false,
      pool: new this.#Pool(origin, {
        connections: EGRESS_LIMITS.connectionsPerOrigin,
        // One request at a time on a connection: none waits behind another or falls with it.
        pipelining: 1,
        maxHeaderSize: EGRESS_LIMITS.responseHeaderBytes,
        keepAliveTimeout: EGRESS_TIMEOUTS.keepAlive,
        keepAliveMaxTimeout: EGRESS_TIMEOUTS.keepAlive,
        // A call has clocks of its own, to the millisecond.
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: (_options, callback) => {
          open().then(
            (socket) => {
              if ((socket as TLSSocket).alpnProtocol === 'h2') made.h2 = true;
              // Of a socket undici takes no more than what every such stream has.
              callback(null, socket as Socket);
            },
            (error: unknown) => callback(asEgressFailure(error), null),
          );
        },
      }),
    };
    return made;
  }
}
