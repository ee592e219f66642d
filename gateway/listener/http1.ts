/** The gateway's HTTP/1.1 listener. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { gatewayErrors } from '../errors.ts';
import type { GatewayExchange } from '../exchange.ts';
import { problemBody, problemHeaders } from '../problem.ts';
import { nextRequestId } from '../request-id.ts';
import { NodeExchange } from './node-exchange.ts';

/** Largest request head in bytes. */
const MAX_HEAD_BYTES = 32 * 1024;
/** A client has this long to send its head, in milliseconds: a slow sender holds a socket, and no more than that. */
const HEAD_TIMEOUT_MS = 15_000;
/** An idle kept-alive connection is closed after this long, in milliseconds. */
const KEEP_ALIVE_MS = 15_000;
const MAX_HEADERS = 200;

export interface Listener {
  /** `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Takes no new connections, lets requests in flight finish for `graceMs`, then breaks them. */
  close(graceMs: number): Promise<void>;
}

/** What an answer to an unreadable request is, by the parser's error code. */
function parserError(error: NodeJS.ErrnoException): SkerryError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return gatewayErrors.HEADERS_TOO_LARGE(`${MAX_HEAD_BYTES / 1024}KiB`);
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
}

/** Paths below this are the node's own; `own` answers them. */
export const OWN_PREFIX = '/_skerry/';

export interface Handlers {
  dispatch(exchange: GatewayExchange): void;
  own(exchange: GatewayExchange): void;
}

function makeServer(handlers: Handlers): Server {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEAD_BYTES,
      headersTimeout: HEAD_TIMEOUT_MS,
      // A body may take as long as the workload's deadline lets it.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 1000,
      noDelay: true,
      insecureHTTPParser: false,
      requireHostHeader: true,
    },
    (request: IncomingMessage, response: ServerResponse) => {
      const exchange = new NodeExchange(request, response, 'http');
      if (exchange.path.startsWith(OWN_PREFIX)) handlers.own(exchange);
      else handlers.dispatch(exchange);
    },
  );
  server.maxHeadersCount = MAX_HEADERS;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET') socket.destroy();
    else answerRaw(socket as Socket, parserError(error));
  });
  server.on('connect', (_request, socket) => answerRaw(socket as Socket, gatewayErrors.METHOD_NOT_OFFERED('CONNECT')));
  return server;
}

function urlOf(address: AddressInfo): string {
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

/** Listens; rejects with the system's error when the port is taken or not allowed. */
export async function listenHttp1(host: string, port: number, handlers: Handlers): Promise<Listener> {
  const server = makeServer(handlers);
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
