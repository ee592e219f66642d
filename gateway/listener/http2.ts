/** HTTP/2, in the clear by prior knowledge or over TLS: streams to Exchanges by Node's own implementation (nghttp2). */
import { constants, createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { RateMeter } from '../../runtime/rate-meter.ts';
import type { Front } from './front.ts';
import { type Handlers, hand } from './handlers.ts';
import { Http2Exchange } from './http2-exchange.ts';

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR } = constants;

/** How often idle connections are looked for, in milliseconds. */
const SWEEP_MS = 1000;

function makeServer({ limits }: Front): Http2Server {
  const { http2 } = limits;
  return createServer({
    settings: {
      maxConcurrentStreams: http2.streams,
      initialWindowSize: http2.streamWindow,
      // A larger head is reset by Node without a word; one that is too large by less is answered 431.
      maxHeaderListSize: 2 * limits.headBytes,
      enablePush: false,
    },
    maxHeaderListPairs: 2 * limits.headers,
    maxSessionMemory: http2.memoryMiB,
    maxSettings: http2.settings,
    maxSessionInvalidFrames: http2.invalidFrames,
    maxSessionRejectedStreams: http2.refusedStreams,
  });
}

/** What nghttp2 found (nghttp2_error in its nghttp2.h) as the client is told it (RFC 9113, 7). */
const ERROR_CODES = new Map([
  [-505, constants.NGHTTP2_PROTOCOL_ERROR],
  [-510, constants.NGHTTP2_STREAM_CLOSED],
  [-522, constants.NGHTTP2_FRAME_SIZE_ERROR],
  [-523, constants.NGHTTP2_COMPRESSION_ERROR],
  [-524, constants.NGHTTP2_FLOW_CONTROL_ERROR],
  [-904, NGHTTP2_ENHANCE_YOUR_CALM],
]);

/** Node ends a faulty connection with INTERNAL_ERROR whatever the fault: the client is to know that it is its own. */
function tellFaults(session: ServerHttp2Session): void {
  const destroy = session.destroy.bind(session);
  session.destroy = (error, code) => {
    const { errno } = (error ?? {}) as NodeJS.ErrnoException;
    destroy(error, code ?? (errno === undefined ? undefined : ERROR_CODES.get(errno)));
  };
}

/** One client's connection: hands on its streams, and ends it when it costs more than it may. */
class Connection {
  readonly session: ServerHttp2Session;
  readonly #front: Front;
  readonly #handlers: Handlers;
  readonly #address: string | undefined;
  readonly #resets: RateMeter;
  readonly #controlFrames: RateMeter;
  #open = 0;
  #idleSince = performance.now();

  constructor(session: ServerHttp2Session, front: Front, handlers: Handlers) {
    this.session = session;
    this.#front = front;
    this.#handlers = handlers;
    this.#address = session.socket.remoteAddress;
    const { resets, controlFrames, connectionWindow } = front.limits.http2;
    this.#resets = new RateMeter(resets);
    this.#controlFrames = new RateMeter(controlFrames);
    tellFaults(session);
    session.setLocalWindowSize(connectionWindow);
    const count = () => this.#count(this.#controlFrames);
    session.on('ping', count);
    session.on('remoteSettings', count);
    session.on('stream', (...given: unknown[]) => {
      // Node gives the names and values as they came too, which its types do not say.
      const [stream, , flags, raw] = given as [ServerHttp2Stream, unknown, number, string[]];
      this.#accept(stream, flags, raw);
    });
  }

  /** Closes it if nothing has been asked for in `keepAliveMs`. */
  closeIfIdle(now: number): void {
    if (this.#open > 0 || now - this.#idleSince < this.#front.limits.keepAliveMs) return;
    // A client that does not hear that it is over is not waited for.
    if (this.session.closed) this.session.destroy();
    else this.session.close();
    this.#idleSince = now;
  }

  #accept(stream: ServerHttp2Stream, flags: number, raw: string[]): void {
    // Its errors are its client's; `close` follows, and nobody else may hear them.
    stream.on('error', () => {});
    // Given up in the same breath as it was opened: there is nothing to serve.
    if (stream.destroyed || stream.closed) return this.#count(this.#resets);
    this.#open++;
    const bodyless = (flags & NGHTTP2_FLAG_END_STREAM) !== 0;
    const exchange = new Http2Exchange(stream, raw, bodyless, this.#front, this.#address);
    stream.on('close', () => {
      this.#open--;
      this.#idleSince = performance.now();
      const givenUp = stream.aborted || stream.rstCode !== NGHTTP2_NO_ERROR;
      if (givenUp && !exchange.reply.brokenOff) this.#count(this.#resets);
    });
    hand(exchange, exchange.fault, this.#handlers);
  }

  #count(meter: RateMeter): void {
    if (meter.take() || this.session.destroyed) return;
    // As the first argument: without an error Node takes no code.
    this.session.destroy(NGHTTP2_ENHANCE_YOUR_CALM as unknown as Error);
  }
}

export class Http2Front {
  readonly #server: Http2Server;
  readonly #connections = new Set<Connection>();
  readonly #sweep: NodeJS.Timeout;

  constructor(handlers: Handlers, front: Front) {
    this.#server = makeServer(front);
    this.#server.on('session', (session) => {
      const connection = new Connection(session, front, handlers);
      this.#connections.add(connection);
      session.on('close', () => this.#connections.delete(connection));
    });
    this.#server.on('sessionError', () => {
      // The session closes by itself; its streams are told.
    });
    const every = Math.min(SWEEP_MS, front.limits.keepAliveMs);
    this.#sweep = setInterval(() => {
      const now = performance.now();
      for (const connection of this.#connections) connection.closeIfIdle(now);
    }, every).unref();
  }

  /** Takes over a connection that begins with the preface of HTTP/2. */
  accept(socket: Socket): void {
    this.#server.emit('connection', socket);
  }

  /** Tells every client that no more streams are taken; what is open goes on. */
  close(): void {
    clearInterval(this.#sweep);
    for (const { session } of this.#connections) session.close();
  }

  destroy(): void {
    for (const { session } of this.#connections) session.destroy();
  }
}
