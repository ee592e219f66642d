/** The gateway's side of an Exchange: what a listener made, before and after it is routed. */
import type { Exchange } from '../runtime/exchange.ts';

export interface GatewayExchange extends Exchange {
  /** Host without port, lower case. */
  readonly host: string;
  /** Path without query, and the query with its `?` or '', byte for byte. */
  readonly path: string;
  readonly query: string;
  /** Fixes what the workload sees: called once by the dispatcher, before a driver gets the exchange. */
  route(target: string, prefix: string, deadline: number): void;
}
