/** What bounds outbound requests, whatever the function asks for. */
const KiB = 1024;
const MiB = 1024 * KiB;

export const EGRESS_LIMITS = {
  /** Requests of one exchange: a page made of many calls fits, a loop that calls until its deadline does not. */
  requestsPerExchange: 256,
  /** Under way at once in one exchange. Browsers open 6 connections to a host; a function may talk to several hosts. */
  concurrentPerExchange: 32,
  /** Under way at once in one function: each is a socket, and the node's descriptors (often 1024) are for all of it. */
  concurrentPerFunction: 256,
  /** Connections of one function to one origin; the rest wait for one, within their connect timeout. */
  connectionsPerOrigin: 64,
  /** Origins that one function keeps connections to; with `*.example.com` it can name any number. */
  origins: 64,
  /** Bodies of one exchange together, each way: they are streamed, so it is the uplink and its bill that this bounds. */
  requestBytesPerExchange: 256 * MiB,
  responseBytesPerExchange: 256 * MiB,
  /** Beyond it servers answer 414 or break off: most take 8 KiB. */
  targetBytes: 16 * KiB,
  /** Of names and values; as much as the node's own gateway takes. */
  requestHeaderBytes: 32 * KiB,
  /** Answers carry cookies and policies: twice that. Held in memory until the guest takes it. */
  responseHeaderBytes: 64 * KiB,
} as const;

/** Where the request says nothing, in milliseconds. The exchange's deadline holds whatever these are. */
export const EGRESS_TIMEOUTS = {
  /** Three SYNs of Linux (at 0, 1 and 3 s) and a handshake over a slow network. */
  connect: 10_000,
  /** As long as a patient server computes. */
  firstByte: 60_000,
  betweenBytes: 30_000,
  /** One question to one server, asked twice. */
  dnsQuery: 2_000,
  /** A connection without a request: below the 5 s that Node's and others' servers keep theirs, so that they seldom close first. */
  keepAlive: 4_000,
} as const;

/** Body bytes that wait in the client for the connection to take them. */
export const REQUEST_BODY_BUFFER_BYTES = 64 * KiB;
