import { isIP, isIPv4 } from 'node:net';
import type { AllowList } from '../egress/allow-list.ts';

/** Addresses that a workload with a network of its own may be allowed beside names. */
const MOST = 64;

/**
 * Addresses of an allow-list, which its network has to have a way to. `refuse` is called with one that it cannot have and
 * why, and throws.
 */
export function outboundAddresses(allow: AllowList, refuse: (address: string, why: string) => never): string[] {
  const addresses = allow.exact.filter((host) => isIP(host) !== 0);
  for (const address of addresses) {
    if (!isIPv4(address)) refuse(address, 'its network has IPv4 alone: allow the name of the host');
    const first = Number.parseInt(address, 10);
    if (first === 127) refuse(address, 'that is its own loopback');
    if (first === 0 || first >= 224) refuse(address, 'that is no address of a host');
  }
  const last = addresses[MOST];
  if (last !== undefined) refuse(last, `it is beyond the ${MOST} addresses that a container may be allowed`);
  return addresses;
}
