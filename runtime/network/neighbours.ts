/** The other workloads of the node, as one of them reaches them by `NAME.skerry.internal`. The gateway implements it. */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

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
  serve(socket: Socket, call: Call): void;
  /** A connection to a port of the callee, which is started when it is cold. Rejects with a SkerryError. */
  connect(call: Call, port: number, signal: AbortSignal): Promise<Duplex>;
}
