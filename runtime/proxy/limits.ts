/** What a proxied exchange may take of the node. */
export const PROXY_LIMITS = {
  /** Most bytes of the head of an answer; more than reaches a client. */
  headBytes: 64 * 1024,
  /** Bytes of a request's body that are taken before the workload reads them. */
  bodyBufferBytes: 64 * 1024,
  /** Answers of known length up to here are sent whole, in one write; in bytes. */
  wholeBytes: 16 * 1024,
  /** Less than servers keep an idle connection: a request should not meet its end. In milliseconds. */
  keepAliveMs: 1500,
  /** A connection that is refused is tried again for so long: a process may be about to listen. In milliseconds. */
  refusedMs: 250,
  /** The first wait between two tries, doubled each time; in milliseconds. */
  retryMs: 5,
} as const;
