/** The network of a microVM: a wire between its one device and the namespace around it, the same for all of them. */
import type { NetworkAddresses } from '../../network/addresses.ts';

/** For links between two hosts that nobody else sees (RFC 7335): no workload can mean them. */
export const MACHINE_LINK = { host: '192.0.0.1', guest: '192.0.0.2', prefix: 30 } as const;

/** All machines have the same: each is alone on its wire. Locally administered. */
export const MACHINE_MAC = '52:54:00:73:6b:79';

/** Names stand for addresses of a range for benchmarks (RFC 2544): loopback would be the guest's own. */
export const MACHINE_ADDRESSES: NetworkAddresses = {
  resolver: MACHINE_LINK.host,
  names: { first: 0xc612_0000, count: 0x0002_0000 },
};
