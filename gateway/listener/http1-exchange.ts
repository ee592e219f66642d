/** An Exchange over Node's `http` request and response. */
import {
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import type { Socket } from 'node:net';
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { FlatHeaders } from '../../runtime/exchange.ts';
import { gatewayErrors } from '../errors.ts';
import type { Front } from './front.ts';
import { ListenerExchange } from './listener-exchange.ts';
import { Reply } from './reply.ts';
import { RequestBody } from './request-body.ts';
import { authorityFault, type ClientHead, clientTrailers, readClientHead, targetFault } from './request-head.ts';
import { latin1Of, ONE_WRITE_BYTES } from './small-body.ts';

class Http1Body extends RequestBody {
  readonly #exchange: Http1Exchange;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #broken = () => {
    if (!this.complete) this.breakOff('the client broke off in the middle of its request body');
  };

  constructor(exchange: Http1Exchange, request: IncomingMessage, response: ServerResponse, length: number | null) {
    super(exchange, length);
    this.#exchange = exchange;
    this.#request = request;
    this.#response = response;
  }

  protected begin(): void {
    const request = this.#request;
    // Asked for only when somebody reads it: a client that waits for this sends nothing that is not wanted.
    if (this.opened && this.#exchange.continues && !this.#response.headersSent) this.#response.writeContinue();
    request.on('data', (chunk: Buffer) => this.arrive(chunk));
    request.on('end', () => {
      request.socket.off('close', this.#broken);
      this.finish(clientTrailers(request.rawTrailers));
    });
    request.on('close', this.#broken);
    request.on('error', () => {
      // `close` follows and tells the reader.
    });
  }

  /** The answer is out. Node lets go of a request then, and does not tell it any more that its connection has gone. */
  answered(): void {
    if (this.complete) return;
    if (this.opened) this.#request.socket.once('close', this.#broken);
    else this.cancel();
  }

  protected hold(): void {
    this.#request.pause();
  }

  protected release(): void {
    this.#request.resume();
  }

  protected cutOff(): void {
    const response = this.#response;
    if (response.writableFinished) return closeLingering(this.#request.socket, this.#exchange.front.limits.lingerMs);
    // Its turn on the connection has not come: the answers before it are not to suffer.
    this.hold();
    response.once('finish', () => this.cutOff());
  }
}

const closing = new WeakSet<Socket>();

/** True when what still comes on this connection is no request to be served. */
export function isClosing(socket: Socket): boolean {
  return closing.has(socket);
}

/**
 * Ends our side and takes what the client still sends for a moment: closing at once would reset the connection, and
 * that could take the answer with it (RFC 9112, 9.6).
 */
export function closeLingering(socket: Socket, lingerMs: number): void {
  if (socket.destroyed || closing.has(socket)) return;
  closing.add(socket);
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.on('close', () => clearTimeout(timer));
}

class Http1Reply extends Reply {
  readonly #exchange: Http1Exchange;
  readonly #response: ServerResponse;

  constructor(exchange: Http1Exchange, response: ServerResponse) {
    super(exchange);
    this.#exchange = exchange;
    this.#response = response;
  }

  get started(): boolean {
    return this.#response.headersSent;
  }

  protected get takesTrailers(): boolean {
    return this.#response.req.httpVersionMinor > 0;
  }

  /** Node would say that a connection that is gone is full, and never drain. */
  protected get gone(): boolean {
    return this.#response.destroyed;
  }

  protected get waiting(): number {
    // Behind an unanswered request on the same connection it is not the client that it waits for.
    return this.#response.socket ? this.#response.writableLength : 0;
  }

  protected hint(status: number, headers: FlatHeaders): void {
    // HTTP/1.0 knows no answer before the answer (RFC 9110, 15.2).
    if (this.#response.req.httpVersionMinor === 0) return;
    if (status === 102) return this.#response.writeProcessing();
    const hints: Record<string, string | string[]> = {};
    for (let i = 0; i < headers.length; i += 2) {
      const name = (headers[i] as string).toLowerCase();
      const value = headers[i + 1] as string;
      validateHeaderName(name);
      validateHeaderValue(name, value);
      const had = hints[name];
      hints[name] = had === undefined ? value : [...(Array.isArray(had) ? had : [had]), value];
    }
    if (hints.link !== undefined) this.#response.writeEarlyHints(hints as Record<string, string>);
  }

  onDrain(callback: () => void): void {
    this.#response.on('drain', () => {
      this.over();
      callback();
    });
  }

  protected whole(status: number, headers: FlatHeaders, body: Uint8Array | null): void {
    this.#boundRest();
    this.#writeHead(status, headers);
    if (body === null) this.#response.end();
    else if (body.byteLength > ONE_WRITE_BYTES) this.#response.end(body);
    else this.#endAtOnce(latin1Of(body));
  }

  /** `end(body)` would write an empty piece too, and two pieces take the long way through Node and the kernel. */
  #endAtOnce(body: string): void {
    const response = this.#response;
    const { socket } = response;
    socket?.cork();
    response.write(body, 'latin1');
    socket?.uncork();
    response.end();
  }

  /** With its reason: Node would keep that of a head which it has refused. */
  #writeHead(status: number, headers: FlatHeaders): void {
    if (this.#exchange.front.closing) this.closeAfter();
    this.#response.writeHead(status, STATUS_CODES[status] ?? '', headers as unknown as string[]);
  }

  protected begin(status: number, headers: FlatHeaders): void {
    this.#writeHead(status, headers);
    // The head goes out now: the first byte of the body may be long in coming.
    this.#response.flushHeaders();
  }

  protected put(chunk: Uint8Array): boolean {
    return this.#response.write(chunk);
  }

  protected finish(trailers: FlatHeaders | null): void {
    if (trailers && trailers.length > 0) this.#response.addTrailers(pairs(trailers));
    this.#response.end();
  }

  protected breakOff(): void {
    // Towards HTTP/1.0 a body ends with its connection: only a reset tells that it is not whole.
    if (this.#response.req.httpVersionMinor === 0) this.#response.socket?.resetAndDestroy();
    this.#response.destroy();
  }

  /** The connection closes after this answer. */
  closeAfter(): void {
    const response = this.#response;
    response.shouldKeepAlive = false;
    const { socket } = response.req;
    const { lingerMs } = this.#exchange.front.limits;
    // What Node calls after the last answer of a connection.
    socket.destroySoon = () => closeLingering(socket, lingerMs);
  }

  /** Node does not know that an answer is over that has not had its turn on the connection. */
  leave(): void {
    this.ended = true;
    this.over();
    if (!this.#response.destroyed) this.#response.destroy();
  }

  /** The answer is out, or its connection is gone. */
  closed(): void {
    this.over();
  }

  /** What comes of the request after its answer keeps the connection only if it is little. */
  #boundRest(): void {
    const { body, failure, front } = this.#exchange;
    if (!body || body.complete) return;
    const { rest } = body;
    const much = rest !== null && rest > front.limits.discardBytes;
    if (failure !== null || (!body.opened && much)) this.closeAfter();
  }
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
  if (request.httpVersionMajor !== 1) return gatewayErrors.BAD_REQUEST(`its version is HTTP/${request.httpVersion}`);
  if (old && head.chunked) return gatewayErrors.BAD_REQUEST('HTTP/1.0 has no Transfer-Encoding');
  if (head.expect !== '' && head.expect !== '100-continue') return gatewayErrors.EXPECTATION_FAILED(head.expect);
  return authorityFault(authority);
}

/** `GET http://host/path` (RFC 9112, 3.2.2) names the authority in the request line; it wins over Host. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;

export class Http1Exchange extends ListenerExchange {
  readonly body: Http1Body | null;
  readonly reply: Http1Reply;
  /** Why it is not to be served, or null. */
  readonly fault: SkerryError | null;
  /** The client waits for `100 Continue` before it sends its body. */
  readonly continues: boolean;

  /** `target`, when given, stands in for the request's own path and query. */
  constructor(request: IncomingMessage, response: ServerResponse, front: Front, target?: string) {
    let url = target ?? (request.url as string);
    const head = readClientHead(request.rawHeaders, 0, front.limits.headers);
    let authority = head.host;
    if (url.charCodeAt(0) !== 47) {
      const absolute = ABSOLUTE.exec(url);
      if (absolute) {
        authority = absolute[1] as string;
        url = absolute[2]?.startsWith('/') ? absolute[2] : `/${absolute[2]}`;
      } else if (url !== '*' || request.method !== 'OPTIONS') {
        head.fault ??= gatewayErrors.BAD_REQUEST('its target is neither a path nor an http URL');
      }
    }
    super(front, request.method as string, authority, url, head.headers, request.socket.remoteAddress);
    this.fault = head.fault ?? faultOf(request, head, authority) ?? targetFault(url);
    this.continues = head.expect === '100-continue' && request.httpVersionMinor > 0;
    this.body =
      head.chunked || (head.length !== null && head.length > 0)
        ? new Http1Body(this, request, response, head.length)
        : null;
    this.reply = new Http1Reply(this, response);
    response.on('close', () => {
      this.reply.closed();
      if (!response.writableFinished) this.leave();
    });
    const { body } = this;
    // Before Node hears of it, which would read what is left without counting it.
    if (body) response.prependListener('finish', () => body.answered());
    // Behind an unanswered request on the same connection (pipelining) a response has no socket yet, and hears nothing.
    if (!response.socket) {
      request.on('close', () => {
        if (request.socket.destroyed && !response.writableFinished) this.leave();
      });
    }
  }
}
