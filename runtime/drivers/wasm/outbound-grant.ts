import type { EgressClient } from '../../egress/egress.ts';
import { EGRESS_LIMITS } from '../../egress/limits.ts';

/** Outbound requests that the guest of one request may make. Engines count them before they ask the client for any. */
export interface OutboundGrant {
  /** In all; 0 when nothing is on the allow-list. */
  readonly requests: number;
  /** Whose answers the guest holds at one time. */
  readonly atOnce: number;
}

export function outboundGrant(egress: EgressClient): OutboundGrant {
  return {
    requests: egress.deniesAll ? 0 : EGRESS_LIMITS.requestsPerExchange,
    atOnce: EGRESS_LIMITS.concurrentPerExchange,
  };
}
