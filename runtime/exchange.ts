/**
 * An Exchange is Skerry's own view of one request and its answer: a flat head, a body source, a reply sink with
 * back-pressure, trailers, an abort signal and a deadline. Listeners make them (gateway/), drivers serve them
 * (runtime/drivers/), and nothing in between copies a body or builds a web `Request`.
 */

import type { Duplex } from 'node:stream';

/** Header names and values in turn, in the order received, repeated names kept: `[name, value, name, value, …]`. */
export type FlatHeaders = string[];

/** Who reads a body. Calls come in the order `chunk* (end | error)`. */
export interface BodyReader {
  /** One piece of the body; the reader owns it. Call `pause()` on the source when there is no room for more. */
  chunk(data: Uint8Array): void;
  end(trailers: FlatHeaders | null): void;
  /** The sender broke off or sent bad framing; the body is incomplete. */
  error(reason: Error): void;
}

export interface BodySource {
  /** Declared length in bytes, or null when it is not known beforehand (chunked, HTTP/2 without Content-Length). */
  readonly length: number | null;
  /** Starts the flow to `reader`; at most once. */
  open(reader: BodyReader): void;
  pause(): void;
  resume(): void;
  /** The reader wants no more: what still arrives is discarded. Safe to call twice or before `open`. */
  cancel(): void;
}

/** Where the answer goes. Either `send` alone, or `start`, `write`*, `end`; `abort` at any time. */
export interface ReplySink {
  /** The final status line has been handed over: a failure from here on can only break the transfer. */
  readonly started: boolean;
  readonly ended: boolean;
  /** A 1xx answer other than 101; ignored where the client's protocol has none. */
  informational(status: number, headers: FlatHeaders): void;
  /** The whole answer in one call: the fast path. */
  send(status: number, headers: FlatHeaders, body: Uint8Array | null): void;
  start(status: number, headers: FlatHeaders): void;
  /** Hands over one piece. False means: full, wait for `onDrain` before the next. */
  write(chunk: Uint8Array): boolean;
  /** Sets the one function called each time room is made after `write` returned false. */
  onDrain(callback: () => void): void;
  end(trailers: FlatHeaders | null): void;
  /** Breaks the transfer so that no client can take the answer for whole. */
  abort(reason: Error): void;
}

/** A client that asks to speak another protocol on its connection (RFC 9110, 7.8). */
export interface UpgradeOffer {
  /** In lower case: `websocket`. */
  readonly protocol: string;
  /**
   * Answers 101 with these headers beside `Connection` and `Upgrade`, and gives the connection over: the reply is not used
   * any more. Throws when the client has gone.
   */
  accept(headers: FlatHeaders): Duplex;
}

export interface Exchange {
  /** Id of this request, in `X-Request-Id`, in problem bodies and in the logs of the workload. */
  readonly id: string;
  readonly method: string;
  readonly scheme: 'http' | 'https';
  /** Host and port as the client wrote them. */
  readonly authority: string;
  /** Path and query as the workload shall see them, byte for byte (a route's prefix is stripped already). */
  readonly target: string;
  /** As the workload shall see them: hop-by-hop headers are gone, forwarding headers are set. */
  readonly headers: FlatHeaders;
  /** Null when the request has no body. */
  readonly body: BodySource | null;
  readonly reply: ReplySink;
  /** Null when the client asks for HTTP alone; an offer may be left, by answering as always. */
  readonly upgrade: UpgradeOffer | null;
  /** When the answer must be complete, in milliseconds on the clock of `performance.now()`. */
  readonly deadline: number;
  /** 0-9, 9 the most urgent. */
  readonly priority: number;
  /** What it is expected to take once it runs, in microseconds; 0: not known. */
  readonly expectedUs: number;
  /** The client has gone (or the node gave up on the request): the work may stop. */
  readonly aborted: boolean;
  /** Sets the one function called when that happens; called at once if it already has. */
  onAbort(callback: () => void): void;
}
