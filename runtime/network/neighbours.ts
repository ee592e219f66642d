/** The other workloads of the node, as one of them reaches them by `NAME.skerry.internal`. The gateway implements it. */
import type { Duplex } from 'node:stream';
import type { ConnectInside } from '../egress/connector.ts';
import { duplexPair } from './duplex-pair.ts';

/** Names of workloads: who calls, and whom. */
export interface Call {
  readonly caller: string;
  readonly callee: string;
}

export interface Neighbours {
  /** Where HTTP is served; connections to other ports are the callee's own. */
  readonly httpPort: number;
  /**
   * Serves HTTP/1.1 or HTTP/2 on a connection of the caller, which is not read yet: its requests go to the callee as the
   * gateway's do.
   */
  serve(connection: Duplex, call: Call): void;
  /** A connection to a port of the callee, which is started when it is cold. Rejects with a SkerryError. */
  connect(call: Call, port: number, signal: AbortSignal): Promise<Duplex>;
}

/** How a workload connects to others: also to where the node itself serves them. */
export function insideOf(neighbours: Neighbours, caller: string): ConnectInside {
  return async (callee, port, signal) => {
    if (port !== neighbours.httpPort) return neighbours.connect({ caller, callee }, port, signal);
    const [near, far] = duplexPair();
    neighbours.serve(far, { caller, callee });
    return near;
  };
}
