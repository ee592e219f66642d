import { isIPv4 } from 'node:net';
import type { AllowList } from '../egress/allow-list.ts';

/** Addresses that a workload with a network of its own may have a way to. */
export const MOST_OUTBOUND_ADDRESSES = 64;

/**
 * The IPv4 addresses of an allow-list that its network has to have a way to. Those of loopback and of IPv6 are not in it:
 * they say where a name may lead, and inside there is IPv4 and its own loopback.
 */
export function outboundAddresses(allow: AllowList): string[] {
  return allow.exact.filter((host) => {
    const first = isIPv4(host) ? Number.parseInt(host, 10) : 0;
    return first > 0 && first < 224 && first !== 127;
  });
}
