/** The gateway's side of an Exchange: what a listener made, before and after it is routed. */
import type { SkerryError } from '../errors/skerry-error.ts';
import type { Exchange } from '../runtime/exchange.ts';
import type { Limits, Revision } from '../runtime/workload/revision.ts';

export type TransferLimits = Pick<Limits, 'maxRequestBytes' | 'maxResponseBytes'>;

/** What an exchange takes from the revision that gets it. */
export type Routed = Pick<Revision, 'priority'> & { readonly limits: TransferLimits };

export interface GatewayExchange extends Exchange {
  /** Host without port, lower case. */
  readonly host: string;
  /** Path without query, and the query with its `?` or '', byte for byte. */
  readonly path: string;
  readonly query: string;
  /** Why the listener itself gave up on the request after it was handed over, or null. */
  readonly failure: SkerryError | null;
  /**
   * Fixes what the workload sees and what may pass: called once by the dispatcher, before a driver gets the exchange.
   */
  route(target: string, prefix: string, deadline: number, revision: Routed, expectedMs: number): void;
}
