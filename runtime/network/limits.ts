/** What bounds the network of one container, whatever it asks for. */
const SECOND = 1000;
const MINUTE = 60 * SECOND;

export const NETWORK_LIMITS = {
  /** Connections open at once: each is two descriptors of the node. More wait in the kernel. */
  connections: 256,
  /** New ones: each is work of the node and, for a server elsewhere, a packet. */
  newConnections: { burst: 256, perSecond: 100 },
  /** Questions for names: a page made of many calls asks for each twice (A and AAAA). */
  queries: { burst: 512, perSecond: 256 },
  /** How long nothing is taken when it was too much, in milliseconds: below the second that a resolver waits. */
  restMs: 250,
  /** A question is a head, one name of at most 255 bytes and its options; RFC 1035 has room for 512. */
  queryBytes: 512,
  /** Names below a wildcard (`*.example.com`) that have an address at once. */
  wildcardNames: 256,
  /** Different messages about what was refused, in the log of an instance. */
  messages: 64,
} as const;

export const NETWORK_TIMEOUTS = {
  /** How long an answer may be remembered, in seconds. */
  answerTtl: 60,
  /** A name below a wildcard keeps its address at least so long after it was asked for, in milliseconds: twice that. */
  wildcardKeep: 2 * MINUTE,
  /** A connection without a byte either way, in milliseconds: longer than databases' clients are quiet in their pools. */
  idle: 30 * MINUTE,
  /** The same of one to the resolver. */
  queryIdle: 10 * SECOND,
} as const;
