/** An Exchange over Node's `http` request and response. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { BodyReader, BodySource, FlatHeaders, ReplySink } from '../../runtime/exchange.ts';
import { gatewayErrors } from '../errors.ts';
import type { GatewayExchange } from '../exchange.ts';
import { nextRequestId } from '../request-id.ts';
import { type ClientHead, readClientHead, replyHeaders } from './headers.ts';

/** A far deadline until the dispatcher sets the workload's own. */
const NO_DEADLINE = Number.POSITIVE_INFINITY;

class NodeBody implements BodySource {
  readonly length: number | null;
  readonly #request: IncomingMessage;

  constructor(request: IncomingMessage, length: number | null) {
    this.#request = request;
    this.length = length;
  }

  open(reader: BodyReader): void {
    const request = this.#request;
    let done = false;
    request.on('data', (chunk: Buffer) => reader.chunk(chunk));
    request.on('end', () => {
      done = true;
      reader.end(request.rawTrailers.length > 0 ? request.rawTrailers : null);
    });
    request.on('close', () => {
      if (!done) reader.error(new Error('the client broke off in the middle of its request body'));
    });
    request.on('error', () => {
      // `close` follows and tells the reader.
    });
  }

  pause(): void {
    this.#request.pause();
  }

  resume(): void {
    this.#request.resume();
  }

  cancel(): void {
    this.#request.removeAllListeners('data');
    this.#request.resume();
  }
}

class NodeReply implements ReplySink {
  ended = false;
  readonly #response: ServerResponse;
  readonly #id: string;
  /** HEAD, and later 204 and 304: what the workload writes is counted as sent and dropped. */
  #bodyless: boolean;

  constructor(response: ServerResponse, id: string, head: boolean) {
    this.#response = response;
    this.#id = id;
    this.#bodyless = head;
  }

  get started(): boolean {
    return this.#response.headersSent;
  }

  informational(status: number, headers: FlatHeaders): void {
    if (status !== 103 || this.started) return;
    const hints: Record<string, string | string[]> = {};
    for (let i = 0; i < headers.length; i += 2) {
      const name = (headers[i] as string).toLowerCase();
      const value = headers[i + 1] as string;
      const had = hints[name];
      hints[name] = had === undefined ? value : [...(Array.isArray(had) ? had : [had]), value];
    }
    if (hints.link !== undefined) this.#response.writeEarlyHints(hints as Record<string, string>);
  }

  send(status: number, headers: FlatHeaders, body: Uint8Array | null): void {
    if (this.#gone()) return;
    const flat = replyHeaders(status, headers, this.#id);
    const empty = bodyForbidden(status);
    // What HEAD is not told the length of has one all the same (RFC 9110, 8.6).
    const unknown = this.#bodyless && body === null;
    if (!empty && !unknown && !hasLength(flat))
      flat.push('content-length', String(body === null ? 0 : body.byteLength));
    this.#response.writeHead(status, flat as unknown as string[]);
    this.ended = true;
    if (body === null || empty || this.#bodyless) this.#response.end();
    else this.#response.end(body);
  }

  start(status: number, headers: FlatHeaders): void {
    if (this.#gone()) return;
    if (bodyForbidden(status)) this.#bodyless = true;
    this.#response.writeHead(status, replyHeaders(status, headers, this.#id) as unknown as string[]);
    // The head goes out now: the first byte of the body may be long in coming.
    this.#response.flushHeaders();
  }

  write(chunk: Uint8Array): boolean {
    if (this.#bodyless || this.ended || this.#gone()) return true;
    return this.#response.write(chunk);
  }

  onDrain(callback: () => void): void {
    this.#response.on('drain', callback);
  }

  end(trailers: FlatHeaders | null): void {
    if (this.ended || this.#gone()) return;
    this.ended = true;
    if (trailers && trailers.length > 0) this.#response.addTrailers(pairs(trailers));
    this.#response.end();
  }

  abort(): void {
    this.ended = true;
    // Towards HTTP/1.0 a body ends with its connection: only a reset tells that it is not whole.
    if (this.#response.req.httpVersionMinor === 0) this.#response.socket?.resetAndDestroy();
    this.#response.destroy();
  }

  /** The connection closes after this answer. */
  closeAfter(): void {
    this.#response.shouldKeepAlive = false;
  }

  /** The client has left: what still comes is dropped, since Node would say that it is full and never drain. */
  #gone(): boolean {
    if (this.#response.destroyed) this.ended = true;
    return this.#response.destroyed;
  }

  /** The client has left before this answer had its turn on the connection: Node does not know that it is over. */
  leave(): void {
    if (!this.#response.destroyed) this.#response.destroy();
  }
}

function bodyForbidden(status: number): boolean {
  return status === 204 || status === 304 || status < 200;
}

function hasLength(headers: FlatHeaders): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() === 'content-length') return true;
  }
  return false;
}

function pairs(flat: FlatHeaders): [string, string][] {
  const list: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) list.push([flat[i] as string, flat[i + 1] as string]);
  return list;
}

function faultOf(request: IncomingMessage, head: ClientHead, authority: string): SkerryError | null {
  const old = request.httpVersionMinor === 0;
  if (head.hosts > 1 || (head.hosts === 0 && !old)) {
    return gatewayErrors.BAD_REQUEST(head.hosts > 1 ? 'it has more than one Host header' : 'it has no Host header');
  }
  if (!AUTHORITY.test(authority)) return gatewayErrors.BAD_REQUEST('its host is not a host name or address');
  if (old && head.chunked) return gatewayErrors.BAD_REQUEST('HTTP/1.0 has no Transfer-Encoding');
  return null;
}

function hostOf(authority: string): string {
  if (authority.startsWith('[')) {
    const close = authority.indexOf(']');
    return (close < 0 ? authority : authority.slice(0, close + 1)).toLowerCase();
  }
  const colon = authority.indexOf(':');
  const host = colon < 0 ? authority : authority.slice(0, colon);
  // With the dot of an absolute name (RFC 1034, 3.1) it is the same host.
  return (host.endsWith('.') ? host.slice(0, -1) : host).toLowerCase();
}

/** Host and port as RFC 3986 (3.2) writes them, without user information (RFC 9110, 4.2.4). */
const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::\d{0,5})?$/;

/** `GET http://host/path` (RFC 9112, 3.2.2) names the authority in the request line; it wins over Host. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;

export class NodeExchange implements GatewayExchange {
  readonly id: string;
  readonly method: string;
  readonly scheme: 'http' | 'https';
  readonly authority: string;
  readonly host: string;
  readonly path: string;
  readonly query: string;
  readonly headers: FlatHeaders;
  readonly body: BodySource | null;
  readonly reply: NodeReply;
  /** Why it is not to be served, or null. */
  readonly fault: SkerryError | null;
  target = '';
  deadline = NO_DEADLINE;
  aborted = false;
  #onAbort: (() => void) | null = null;

  /** `target`, when given, stands in for the request's own path and query. */
  constructor(request: IncomingMessage, response: ServerResponse, scheme: 'http' | 'https', target?: string) {
    this.id = nextRequestId();
    this.method = request.method as string;
    this.scheme = scheme;
    let url = target ?? (request.url as string);
    let authority = request.headers.host ?? '';
    if (url.charCodeAt(0) !== 47) {
      const absolute = ABSOLUTE.exec(url);
      if (absolute) {
        authority = absolute[1] as string;
        url = absolute[2]?.startsWith('/') ? absolute[2] : `/${absolute[2]}`;
      }
    }
    this.authority = authority;
    this.host = hostOf(authority);
    const question = url.indexOf('?');
    this.path = question < 0 ? url : url.slice(0, question);
    this.query = question < 0 ? '' : url.slice(question);
    const head = readClientHead(request.rawHeaders);
    this.headers = head.headers;
    this.headers.push(
      'x-forwarded-for',
      request.socket.remoteAddress ?? 'unknown',
      'x-forwarded-proto',
      scheme,
      'x-forwarded-host',
      authority,
      'x-request-id',
      this.id,
    );
    this.fault = head.fault ?? faultOf(request, head, authority);
    this.body = head.chunked || (head.length !== null && head.length > 0) ? new NodeBody(request, head.length) : null;
    this.reply = new NodeReply(response, this.id, this.method === 'HEAD');
    response.on('close', () => {
      if (!response.writableFinished) this.#left();
    });
    // Behind an unanswered request on the same connection (pipelining) a response has no socket yet, and hears nothing.
    if (!response.socket) {
      request.on('close', () => {
        if (request.socket.destroyed && !response.writableFinished) this.#left();
      });
    }
  }

  route(target: string, prefix: string, deadline: number): void {
    this.target = target;
    this.deadline = deadline;
    if (prefix !== '') this.headers.push('x-forwarded-prefix', prefix);
  }

  onAbort(callback: () => void): void {
    this.#onAbort = callback;
    if (this.aborted) callback();
  }

  #left(): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reply.leave();
    this.#onAbort?.();
  }
}
