/** HTTP/1.1 and 1.0: connections to Exchanges by Node's own parser. */
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { gatewayErrors } from '../errors.ts';
import { problemBody, problemHeaders } from '../problem.ts';
import { nextRequestId } from '../request-id.ts';
import type { Front } from './front.ts';
import { type Handlers, hand } from './handlers.ts';
import { closeLingering, Http1Exchange, isClosing } from './http1-exchange.ts';
import type { ListenerLimits } from './limits.ts';

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
function answerRaw(socket: Socket, error: SkerryError, lingerMs: number): void {
  if (!socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const id = nextRequestId();
  const body = problemBody(error, id);
  const headers = problemHeaders(error, id);
  const date = new Date().toUTCString();
  let head = `HTTP/1.1 ${error.status} ${REASONS[error.status] ?? 'Error'}\r\ndate: ${date}\r\nconnection: close\r\n`;
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
  socket.write(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  closeLingering(socket, lingerMs);
}

/** Options of an HTTP/1.1 server, plain or over TLS. */
export function http1Options(limits: ListenerLimits) {
  return {
    maxHeaderSize: limits.headBytes,
    headersTimeout: limits.headTimeoutMs,
    // A body may take as long as the workload's deadline lets it, if it moves.
    requestTimeout: 0,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(1000, limits.headTimeoutMs),
    noDelay: true,
    insecureHTTPParser: false,
    // Checked with the rest of the head, so that the answer is a problem like any other.
    requireHostHeader: false,
  };
}

const connection = Symbol('what is known of this connection');

interface Connection {
  /** Requests so far. */
  served: number;
  latest: { readonly response: ServerResponse; readonly safe: boolean } | null;
}

type HttpSocket = Socket & { [connection]?: Connection };

/** So many requests of the connection have been served before Node's parser reads from it. */
export function setServed(socket: HttpSocket, served: number): void {
  socket[connection] = { served, latest: null };
}

/** RFC 9110, 9.2.1. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** The response that has to be over before this request may be served (RFC 9112, 9.3.2), or null. */
function responseBefore(to: Connection, method: string | undefined, response: ServerResponse): ServerResponse | null {
  const { latest } = to;
  const safe = SAFE.has(method as string);
  to.latest = { response, safe };
  // It has the socket unless it is behind an unanswered request (pipelining).
  return response.socket || !latest || (safe && latest.safe) ? null : latest.response;
}

/** Makes a server's requests into Exchanges. */
export function serveHttp1(server: Server, handlers: Handlers, front: Front): void {
  const { limits } = front;
  const serve: RequestListener = (request, response) => {
    const socket: HttpSocket = request.socket;
    if (isClosing(socket)) return;
    socket[connection] ??= { served: 0, latest: null };
    const count = ++socket[connection].served;
    const before = responseBefore(socket[connection], request.method, response);
    if (before) before.once('close', () => answer(request, response, count));
    else answer(request, response, count);
  };
  const answer = (request: IncomingMessage, response: ServerResponse, count: number) => {
    if (isClosing(request.socket) || request.socket.destroyed) return;
    const exchange = new Http1Exchange(request, response, front);
    // Node's parser lets go of what stands behind a request that offers another protocol.
    const last = count >= limits.requestsPerConnection || request.headers.upgrade !== undefined;
    if (exchange.fault || last) exchange.reply.closeAfter();
    hand(exchange, exchange.fault, handlers);
  };
  server.on('request', serve);
  // With a listener here Node sends no `100 Continue` of its own: the body asks for it when it is read.
  server.on('checkContinue', serve);
  server.on('checkExpectation', serve);
  // Node would leave out what is beyond its own count without a word; ours is checked.
  server.maxHeadersCount = 0;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET') socket.destroy();
    else answerRaw(socket as Socket, parserError(error, limits), limits.lingerMs);
  });
  server.on('connect', (_request: IncomingMessage, socket) => {
    // Node has let go of this socket: nobody else hears its errors.
    socket.on('error', () => socket.destroy());
    answerRaw(socket as Socket, gatewayErrors.METHOD_NOT_OFFERED('CONNECT'), limits.lingerMs);
  });
}
