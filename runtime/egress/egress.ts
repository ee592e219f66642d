/**
 * The contract of outbound HTTP: what a sandbox may send beyond itself, as its engine sees it. Callbacks in the style of
 * `runtime/exchange.ts`; nothing of undici or of the web's fetch shows through, so that any engine can stand on it.
 */
import type { BodySource, FlatHeaders } from '../exchange.ts';

/**
 * How a request can fail: the cases of `error-code` in wasi:http/types (0.2 and 0.3) that this client tells apart, by
 * their WIT names, so that an engine maps each to the one of the same name.
 */
export const EGRESS_ERROR_KINDS = [
  /** No answer of the resolver in time. */
  'DNS-timeout',
  /** The name does not exist or has no address. */
  'DNS-error',
  'destination-unavailable',
  /** Every address of the name is one that a workload may not reach. */
  'destination-IP-prohibited',
  'destination-IP-unroutable',
  'connection-refused',
  'connection-terminated',
  /** No connection within the connect timeout. */
  'connection-timeout',
  /** Nothing more of the answer's body within the between-bytes timeout. */
  'connection-read-timeout',
  /** The exchange, or the function, has too many requests under way or behind it. */
  'connection-limit-reached',
  'TLS-protocol-error',
  'TLS-certificate-error',
  'TLS-alert-received',
  /** The destination is not on the allow-list, or the request has what a guest may not send. */
  'HTTP-request-denied',
  'HTTP-request-body-size',
  'HTTP-request-method-invalid',
  'HTTP-request-URI-invalid',
  'HTTP-request-URI-too-long',
  'HTTP-request-header-section-size',
  'HTTP-response-incomplete',
  'HTTP-response-header-section-size',
  'HTTP-response-body-size',
  /** No head of the answer within the first-byte timeout, or no end of it by the deadline. */
  'HTTP-response-timeout',
  'HTTP-protocol-error',
  'internal-error',
] as const;
export type EgressErrorKind = (typeof EGRESS_ERROR_KINDS)[number];

/** In milliseconds; null leaves the client's default. */
export interface EgressTimeouts {
  /** To a connection, with name resolution and TLS. */
  readonly connectMs: number | null;
  /** From then to the head of the answer. */
  readonly firstByteMs: number | null;
  /** Between two pieces of the answer's body. */
  readonly betweenBytesMs: number | null;
}

export interface EgressRequest {
  readonly method: string;
  readonly scheme: 'http' | 'https';
  /** `HOST[:PORT]`, an IPv6 address in brackets. */
  readonly authority: string;
  /** Path and query, byte for byte; empty stands for `/`. */
  readonly target: string;
  /** Without Host, which the authority gives, and without hop-by-hop headers: those are refused. */
  readonly headers: FlatHeaders;
  /** Null when there is none. Its trailers are not sent. */
  readonly body: BodySource | null;
  readonly timeouts: EgressTimeouts;
}

/** Who gets the answer. Calls come in the order `[head chunk*] (end | error)`, none before `send` has returned. */
export interface EgressReply {
  /** The final status, a redirect's too; 1xx answers are taken off. Names in lower case, values as Latin-1. */
  head(status: number, headers: FlatHeaders): void;
  /** One piece of the body, as it came (never decompressed); the receiver owns it. */
  chunk(data: Uint8Array): void;
  end(trailers: FlatHeaders | null): void;
  /** `detail` is for the function's developer. */
  error(kind: EgressErrorKind, detail: string): void;
}

/** One request under way. */
export interface EgressCall {
  /** No more `chunk` until `resume`, save what has left the client already. */
  pause(): void;
  resume(): void;
  /** The answer is not wanted any more: no call of the reply follows. Idempotent. */
  cancel(): void;
}

/** The outbound requests of one exchange, which share its limits and its deadline. */
export interface EgressSession {
  /** Never throws: what is wrong with the request is told through `reply.error`. */
  send(request: EgressRequest, reply: EgressReply): EgressCall;
  /** The exchange is over: cancels what is still under way. Idempotent. */
  close(): void;
}

/** The outbound side of one function: its allow-list, its connections. */
export interface EgressClient {
  /** Nothing is on the allow-list: every request is denied, and an engine need not ask. */
  readonly deniesAll: boolean;
  /** `deadline`: that of the exchange, in milliseconds on the clock of `performance.now()`. */
  open(deadline: number): EgressSession;
  /** Ends every request and connection. Idempotent. */
  close(): Promise<void>;
}
