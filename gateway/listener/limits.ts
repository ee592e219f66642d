/**
 * Everything that bounds what one client can take of the gateway, in one place. What a workload may be sent and may
 * answer is a setting of the workload (`max-request`, `max-response`), not of the gateway.
 */
import type { Rate } from '../../runtime/rate-meter.ts';

const KiB = 1024;

export interface Http2Limits {
  /** Streams that a client may have open at once (SETTINGS_MAX_CONCURRENT_STREAMS). */
  readonly streams: number;
  /** Bytes of one request body that may be on their way while nobody reads it (SETTINGS_INITIAL_WINDOW_SIZE). */
  readonly streamWindow: number;
  /** The same for all streams of a connection together. */
  readonly connectionWindow: number;
  /** Memory of one connection in MiB: header tables, what waits to be sent, acknowledgements. */
  readonly memoryMiB: number;
  /** Entries of one SETTINGS frame. */
  readonly settings: number;
  /** Frames that are no valid HTTP/2, before the connection is closed. */
  readonly invalidFrames: number;
  /** Streams refused because there are too many, before the connection is closed. */
  readonly refusedStreams: number;
  /** Streams given up before their answer was complete ("rapid reset", CVE-2023-44487 and CVE-2025-8671). */
  readonly resets: Rate;
  /** PING and SETTINGS frames: each must be answered (CVE-2019-9512, CVE-2019-9515). */
  readonly controlFrames: Rate;
}

export interface ListenerLimits {
  /** Connections at once; more are closed as they come. */
  readonly connections: number;
  /** Largest head of a request in bytes, and its most headers. */
  readonly headBytes: number;
  readonly headers: number;
  /** A client has this long to finish its TLS handshake, and to send a head, in milliseconds. */
  readonly headTimeoutMs: number;
  /** An idle kept-alive connection is closed after this long, in milliseconds. */
  readonly keepAliveMs: number;
  /** Requests on one HTTP/1.1 connection before the client is told to open another. */
  readonly requestsPerConnection: number;
  /** A body that is wanted must bring `stallBytes` in each time of this length, in milliseconds. */
  readonly stallMs: number;
  readonly stallBytes: number;
  /** An answer that nothing is taken of may stand still for `stallMs`, and as long as what waits takes at this rate. */
  readonly minBytesPerSecond: number;
  /** Bytes of an unwanted request body that are read and thrown away after the answer, to keep the connection. */
  readonly discardBytes: number;
  /** A client that was answered before its request was read has this long to read the answer, in milliseconds. */
  readonly lingerMs: number;
  readonly http2: Http2Limits;
}

export const LISTENER_LIMITS: ListenerLimits = {
  // A kept-alive connection costs some 15 KiB, a TLS one some 60 KiB: at most 250 MiB on a node of 1 GiB.
  connections: 4096,
  // Twice what browsers and servers commonly allow, so that it is never ours that is hit first.
  headBytes: 32 * KiB,
  headers: 200,
  headTimeoutMs: 15_000,
  keepAliveMs: 15_000,
  // Rare enough to cost nothing, and no connection stays for ever on what it found when it was opened.
  requestsPerConnection: 10_000,
  // 34 bytes a second: below any link that a person would wait for, far above a client that only holds a place.
  stallMs: 30_000,
  stallBytes: KiB,
  // Node tells only when a whole piece is gone, which may be 64 KiB.
  minBytesPerSecond: KiB,
  discardBytes: 256 * KiB,
  lingerMs: 1000,
  http2: {
    // What RFC 9113 (6.5.2) recommends at least; a workload's own concurrency is 64 by default.
    streams: 100,
    // With 50 ms to the client 2.5 MB/s a stream; 12.5 MiB a connection if every stream is filled and none read.
    streamWindow: 128 * KiB,
    connectionWindow: 1024 * KiB,
    memoryMiB: 16,
    // The specification knows seven.
    settings: 16,
    invalidFrames: 100,
    refusedStreams: 100,
    // A browser that leaves a page gives up what that page asked for: two full sets of streams.
    resets: { burst: 200, perSecond: 10 },
    // Clients send a PING every few seconds to keep a connection, and BDP probes about once a round trip.
    controlFrames: { burst: 100, perSecond: 10 },
  },
};
