/** Which IP addresses a workload may never reach by a name: everything that is not somewhere on the internet. */
import { BlockList, isIP, isIPv4 } from 'node:net';

/**
 * Not globally reachable by the registries of special-purpose addresses (RFC 6890, as IANA keeps them), and multicast.
 * https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry
 */
const SPECIAL: readonly [network: string, prefix: number][] = [
  ['0.0.0.0', 8], // this network; 0.0.0.0 reaches loopback on Linux
  ['10.0.0.0', 8], // private, RFC 1918
  ['100.64.0.0', 10], // shared by carriers' NAT, RFC 6598
  ['127.0.0.0', 8], // loopback
  ['169.254.0.0', 16], // link-local, and the metadata services of clouds
  ['172.16.0.0', 12], // private
  ['192.0.0.0', 24], // IETF protocol assignments
  ['192.0.2.0', 24], // documentation
  ['192.88.99.0', 24], // 6to4 relays, withdrawn by RFC 7526
  ['192.168.0.0', 16], // private
  ['198.18.0.0', 15], // benchmarks
  ['198.51.100.0', 24], // documentation
  ['203.0.113.0', 24], // documentation
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, and the broadcast address
  ['::', 128], // unspecified
  ['::1', 128], // loopback
  ['64:ff9b:1::', 48], // NAT64 of a network's own, RFC 8215
  ['100::', 64], // discarded, RFC 6666
  ['100:0:0:1::', 64], // dummy prefix, RFC 9780
  ['2001::', 23], // IETF protocol assignments: Teredo, benchmarks, ORCHID
  ['2001:db8::', 32], // documentation
  ['3fff::', 20], // documentation, RFC 9637
  ['5f00::', 16], // segment routing, RFC 9602
  ['fc00::', 7], // unique local, RFC 4193
  ['fe80::', 10], // link-local
  ['fec0::', 10], // site-local, withdrawn by RFC 3879
  ['ff00::', 8], // multicast
];

const special = new BlockList();
for (const [network, prefix] of SPECIAL) special.addSubnet(network, prefix, isIPv4(network) ? 'ipv4' : 'ipv6');

/** IPv6 addresses that stand for an IPv4 address, and the byte at which that begins. */
const EMBEDDING: readonly [network: string, prefix: number, at: number][] = [
  ['::', 96, 12], // IPv4-compatible, RFC 4291
  ['::ffff:0:0', 96, 12], // IPv4-mapped
  ['::ffff:0:0:0', 96, 12], // IPv4-translated, RFC 2765
  ['64:ff9b::', 96, 12], // NAT64, RFC 6052
  ['2002::', 16, 2], // 6to4, RFC 3056
];

const embedding = EMBEDDING.map(([network, prefix, at]) => {
  const list = new BlockList();
  list.addSubnet(network, prefix, 'ipv6');
  return { list, at };
});

/** The one way of writing an address (RFC 5952 for IPv6, without brackets); null for what is none, also with a zone. */
export function canonicalAddress(text: string): string | null {
  const version = isIP(text);
  if (version === 4) return text;
  if (version === 6 && !text.includes('%')) return new URL(`http://[${text}]`).hostname.slice(1, -1);
  return null;
}

/** The 16 bytes of an IPv6 address in its canonical form. */
function bytesOf(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const zeros = Array<number>(8 - front.length - back.length).fill(0);
  return [...front, ...zeros, ...back].flatMap((group) => [group >> 8, group & 0xff]);
}

/** True for an address that is not on the internet, however it is written. `address` is canonical. */
export function isSpecialAddress(address: string): boolean {
  if (isIPv4(address)) return special.check(address, 'ipv4');
  if (special.check(address, 'ipv6')) return true;
  return embedding.some(({ list, at }) => {
    if (!list.check(address, 'ipv6')) return false;
    return special.check(
      bytesOf(address)
        .slice(at, at + 4)
        .join('.'),
      'ipv4',
    );
  });
}
