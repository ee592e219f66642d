/** The gateway's HTTP/1.1 listener. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { gatewayErrors } from '../errors.ts';
import type { GatewayExchange } from '../exchange.ts';
import { problemBody, problemHeaders, sendProblem } from '../problem.ts';
import { nextRequestId } from '../request-id.ts';
import { NodeExchange } from './node-exchange.ts';

export interface ListenerLimits {
  /** Largest request head in bytes. */
  readonly headBytes: number;
  /** A client has this long to send its head, in milliseconds: a slow sender holds a socket, and no more than that. */
  readonly headTimeoutMs: number;
  /** An idle kept-alive connection is closed after this long, in milliseconds. */
  readonly keepAliveMs: number;
}

const LIMITS: ListenerLimits = { headBytes: 32 * 1024, headTimeoutMs: 15_000, keepAliveMs: 15_000 };
/** A refused client has this long to read why before its socket is taken away, in milliseconds. */
const LINGER_MS = 1000;

export interface Listener {
  /** `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Takes no new connections, lets requests in flight finish for `graceMs`, then breaks them. */
  close(graceMs: number): Promise<void>;
}

/** What an answer to an unreadable request is, by the parser's error code. */
function parserError(error: NodeJS.ErrnoException, limits: ListenerLimits): SkerryError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return gatewayErrors.HEADERS_TOO_LARGE(`${limits.headBytes / 1024}KiB`);
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return gatewayErrors.REQUEST_TIMEOUT();
    default:
      return gatewayErrors.BAD_REQUEST((error as { reason?: string }).reason ?? error.code ?? error.message);
  }
}

const REASONS: Record<number, string> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
};

/** Answers on the bare socket, since there is no request to answer, and closes it. */
function answerRaw(socket: Socket, error: SkerryError): void {
  if (!socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const id = nextRequestId();
  const body = problemBody(error, id);
  const headers = problemHeaders(error, id);
  let head = `HTTP/1.1 ${error.status} ${REASONS[error.status] ?? 'Error'}\r\nconnection: close\r\n`;
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
  socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  // Taking the socket away at once could take the answer with it; a client that holds on to it is not waited for.
  socket.resume();
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.on('close', () => clearTimeout(linger));
}

/** Paths below this are the node's own; `own` answers them. */
export const OWN_PREFIX = '/_skerry/';

export interface Handlers {
  dispatch(exchange: GatewayExchange): void;
  own(exchange: GatewayExchange): void;
}

function makeServer(handlers: Handlers, limits: ListenerLimits): Server {
  const server = createServer(
    {
      maxHeaderSize: limits.headBytes,
      headersTimeout: limits.headTimeoutMs,
      // A body may take as long as the workload's deadline lets it.
      requestTimeout: 0,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: Math.min(1000, limits.headTimeoutMs),
      noDelay: true,
      insecureHTTPParser: false,
      // Checked with the rest of the head, so that the answer is a problem like any other.
      requireHostHeader: false,
    },
    (request: IncomingMessage, response: ServerResponse) => {
      const exchange = new NodeExchange(request, response, 'http');
      if (exchange.fault) {
        exchange.reply.closeAfter();
        sendProblem(exchange, exchange.fault);
      } else if (exchange.path.startsWith(OWN_PREFIX)) handlers.own(exchange);
      else handlers.dispatch(exchange);
    },
  );
  // Node would leave out what is beyond its own count without a word; ours is checked.
  server.maxHeadersCount = 0;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET') socket.destroy();
    else answerRaw(socket as Socket, parserError(error, limits));
  });
  server.on('connect', (_request, socket) => {
    // Node has let go of this socket: nobody else hears its errors.
    socket.on('error', () => socket.destroy());
    answerRaw(socket as Socket, gatewayErrors.METHOD_NOT_OFFERED('CONNECT'));
  });
  return server;
}

function urlOf(address: AddressInfo): string {
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

/** Listens; rejects with the system's error when the port is taken or not allowed. */
export async function listenHttp1(
  host: string,
  port: number,
  handlers: Handlers,
  limits: ListenerLimits = LIMITS,
): Promise<Listener> {
  const server = makeServer(handlers, limits);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: 4096 }, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  return {
    url: urlOf(server.address() as AddressInfo),
    async close(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      // Kept-alive connections that finish their request while we wait would otherwise stay until they time out.
      const sweep = setInterval(() => server.closeIdleConnections(), 50);
      await closed;
      clearTimeout(timer);
      clearInterval(sweep);
    },
  };
}
