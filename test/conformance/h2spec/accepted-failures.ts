/**
 * Cases of h2spec that fail, and why that is accepted. All but the first are decisions of nghttp2 or Node.js on which
 * the gateway has no say: it sees requests, not frames.
 */

export interface AcceptedFailure {
  /** `package classname` of h2spec's report. */
  readonly case: string;
  readonly why: string;
  /** It passes over TLS. */
  readonly plainOnly?: true;
}

const FORGOTTEN =
  'nghttp2 forgets a stream that is closed and ignores what still comes for it, since it may have been on its way; no request is made of it';

export const ACCEPTED: readonly AcceptedFailure[] = [
  {
    case: 'http2/3.5 Sends invalid connection preface',
    why: 'the port speaks HTTP/1.1 too: what is no preface is answered 400 in HTTP/1.1 before the connection is closed',
    plainOnly: true,
  },
  { case: 'http2/5.1 closed: Sends a DATA frame after sending RST_STREAM frame', why: FORGOTTEN },
  { case: 'http2/5.1 closed: Sends a HEADERS frame after sending RST_STREAM frame', why: FORGOTTEN },
  { case: 'http2/5.1 closed: Sends a DATA frame', why: FORGOTTEN },
  { case: 'http2/5.1 closed: Sends a HEADERS frame', why: FORGOTTEN },
  {
    case: 'http2/5.1.1 Sends stream identifier that is numerically smaller than previous',
    why: 'nghttp2 takes it for trailers that crossed a reset and ignores it; no request is made of it',
  },
  {
    case: 'http2/6.7 Sends a PING frame with ACK',
    why: 'Node.js closes a connection that acknowledges a PING which was never sent; it does not answer it either',
  },
];
