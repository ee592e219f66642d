/** An Exchange over a stream of Node's `http2`. */
import { METHODS, validateHeaderName, validateHeaderValue } from 'node:http';
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { FlatHeaders } from '../../runtime/exchange.ts';
import { gatewayErrors } from '../errors.ts';
import type { Front } from './front.ts';
import type { ListenerLimits } from './limits.ts';
import { ListenerExchange } from './listener-exchange.ts';
import { Reply } from './reply.ts';
import { RequestBody } from './request-body.ts';
import { authorityFault, type ClientHead, clientTrailers, readClientHead, targetFault } from './request-head.ts';

const { NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR } = constants;

class Http2Body extends RequestBody {
  readonly #exchange: Http2Exchange;
  readonly #stream: ServerHttp2Stream;
  /** The client has said that this is all of it. */
  #whole: boolean;

  constructor(exchange: Http2Exchange, stream: ServerHttp2Stream, length: number | null) {
    super(exchange, length);
    this.#exchange = exchange;
    this.#stream = stream;
    // Node ends a stream that its client reset like one that is whole, but says first that it is closed.
    this.#whole = stream.state.remoteClose === 1;
    const push = stream.push.bind(stream);
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed) this.#whole = true;
      return push(chunk, encoding);
    };
  }

  protected begin(): void {
    const stream = this.#stream;
    const broken = () => {
      if (!this.complete) this.breakOff('the client broke off in the middle of its request body');
    };
    if (stream.destroyed || stream.aborted) return broken();
    if (this.opened && this.#exchange.continues && !stream.headersSent) stream.additionalHeaders({ ':status': 100 });
    let trailers: FlatHeaders | null = null;
    // Node gives the names and values as they came too, which its types do not say.
    stream.on('trailers', (...given: unknown[]) => {
      trailers = clientTrailers(given[2] as string[]);
    });
    stream.on('data', (chunk: Buffer) => this.arrive(chunk));
    stream.on('end', () => (this.#whole ? this.finish(trailers) : broken()));
    stream.on('aborted', broken);
    stream.on('close', broken);
  }

  protected hold(): void {
    this.#stream.pause();
  }

  protected release(): void {
    this.#stream.resume();
  }

  protected cutOff(): void {
    this.#stream.close(NGHTTP2_NO_ERROR);
  }
}

/** Lists that Node takes as one value only; RFC 9110 (5.3) lets them be joined. */
const JOINED = new Set(['content-encoding', 'content-language']);

/** For Node: values of repeated names as a list, in order. Throws when a name or value is not valid. */
function fields(flat: FlatHeaders): OutgoingHttpHeaders {
  const named: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i < flat.length; i += 2) {
    const name = (flat[i] as string).toLowerCase();
    const value = flat[i + 1] as string;
    validateHeaderName(name);
    // Neither Node nor nghttp2 looks at them on their way out.
    validateHeaderValue(name, value);
    const had = named[name];
    if (had === undefined) named[name] = value;
    else if (JOINED.has(name)) named[name] = `${had}, ${value}`;
    else if (Array.isArray(had)) had.push(value);
    else named[name] = [had, value];
  }
  return named;
}

class Http2Reply extends Reply {
  readonly #stream: ServerHttp2Stream;
  #trailers: OutgoingHttpHeaders = {};
  /** Nothing follows the head. */
  #headOnly = false;
  /** It was the node that ended the stream before its time. */
  brokenOff = false;

  constructor(exchange: Http2Exchange, stream: ServerHttp2Stream) {
    super(exchange);
    this.#stream = stream;
  }

  protected get takesTrailers(): boolean {
    return true;
  }

  get started(): boolean {
    return this.#stream.headersSent;
  }

  protected get gone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  protected get waiting(): number {
    return this.#stream.writableLength;
  }

  protected hint(status: number, headers: FlatHeaders): void {
    this.#stream.additionalHeaders({ ...fields(headers), ':status': status });
  }

  onDrain(callback: () => void): void {
    this.#stream.on('drain', () => {
      this.over();
      callback();
    });
  }

  protected whole(status: number, headers: FlatHeaders, body: Uint8Array | null): void {
    this.#stream.respond({ ':status': status, ...fields(headers) }, { endStream: body === null });
    if (body !== null) this.#stream.end(body);
  }

  protected begin(status: number, headers: FlatHeaders, bodyless: boolean): void {
    const stream = this.#stream;
    this.#headOnly = bodyless;
    stream.respond({ ':status': status, ...fields(headers) }, { endStream: bodyless, waitForTrailers: !bodyless });
    if (bodyless) return;
    stream.once('wantTrailers', () => stream.sendTrailers(this.#trailers));
  }

  protected put(chunk: Uint8Array): boolean {
    return this.#stream.write(chunk);
  }

  protected finish(trailers: FlatHeaders | null): void {
    if (this.#headOnly) return;
    if (trailers) this.#trailers = fields(trailers);
    this.#stream.end();
  }

  protected breakOff(): void {
    this.brokenOff = true;
    this.#stream.close(NGHTTP2_INTERNAL_ERROR);
  }

  leave(): void {
    this.ended = true;
    this.over();
    // Not CANCEL, which clients take for their own doing: half an answer would look whole to them.
    if (!this.gone) this.breakOff();
  }

  closed(): void {
    this.over();
  }
}

interface Http2Head {
  readonly method: string;
  readonly authority: string;
  readonly path: string;
  readonly rest: ClientHead;
  readonly fault: SkerryError | null;
}

const KNOWN_METHODS = new Set(METHODS);

/**
 * What nghttp2 has let through is well-formed by RFC 9113 (8.2 and 8.3): it has one method and path and an :authority or
 * a Host. What it does not look at is looked at here.
 */
function readHttp2Head(raw: readonly string[], limits: ListenerLimits): Http2Head {
  let from = 0;
  let method = '';
  let path = '';
  let authority: string | null = null;
  for (; from < raw.length && raw[from]?.startsWith(':'); from += 2) {
    const value = raw[from + 1] as string;
    if (raw[from] === ':method') method = value;
    else if (raw[from] === ':path') path = value;
    else if (raw[from] === ':authority') authority = value;
  }
  const rest = readClientHead(raw, from, limits.headers);
  const fault = rest.fault ?? faultOf(method, authority, rest) ?? targetFault(path) ?? sizeFault(raw, limits.headBytes);
  rest.headers = joinCookies(rest.headers);
  return { method, authority: authority ?? rest.host, path, rest, fault };
}

function faultOf(method: string, authority: string | null, head: ClientHead): SkerryError | null {
  if (method === 'CONNECT') return gatewayErrors.METHOD_NOT_OFFERED(method);
  if (!KNOWN_METHODS.has(method)) return gatewayErrors.BAD_REQUEST('its method is not known');
  // RFC 9113, 8.3.1: they may not differ.
  if (authority !== null && head.hosts > 0 && authority.toLowerCase() !== head.host.toLowerCase()) {
    return gatewayErrors.BAD_REQUEST('its :authority and its Host header differ');
  }
  if (head.expect !== '' && head.expect !== '100-continue') return gatewayErrors.EXPECTATION_FAILED(head.expect);
  return authorityFault(authority ?? head.host);
}

function sizeFault(raw: readonly string[], headBytes: number): SkerryError | null {
  let bytes = 0;
  for (const text of raw) bytes += text.length;
  return bytes > headBytes ? gatewayErrors.HEADERS_TOO_LARGE(`${headBytes / 1024}KiB`) : null;
}

/** A client may send a cookie in crumbs, each a field of its own; workloads expect one (RFC 9113, 8.2.3). */
function joinCookies(headers: FlatHeaders): FlatHeaders {
  let at = -1;
  let joined: FlatHeaders | null = null;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    if (name === 'cookie' && at >= 0) {
      joined ??= headers.slice(0, i);
      joined[at + 1] += `; ${value}`;
    } else {
      if (name === 'cookie') at = i;
      joined?.push(name, value);
    }
  }
  return joined ?? headers;
}

export class Http2Exchange extends ListenerExchange {
  readonly body: RequestBody | null;
  readonly reply: Http2Reply;
  /** Why it is not to be served, or null. */
  readonly fault: SkerryError | null;
  /** The client waits for a 100 before it sends its body. */
  readonly continues: boolean;

  /** `bodyless`: the head was the whole request. */
  constructor(
    stream: ServerHttp2Stream,
    raw: readonly string[],
    bodyless: boolean,
    front: Front,
    remoteAddress: string | undefined,
  ) {
    const { method, authority, path, rest, fault } = readHttp2Head(raw, front.limits);
    super(front, method, authority, path, rest.headers, remoteAddress);
    this.fault = fault;
    this.continues = rest.expect === '100-continue';
    this.body = bodyless ? null : new Http2Body(this, stream, rest.length);
    this.reply = new Http2Reply(this, stream);
    stream.on('aborted', () => this.leave());
    stream.on('close', () => {
      this.reply.closed();
      if (stream.rstCode !== NGHTTP2_NO_ERROR || !stream.writableFinished) this.leave();
    });
    stream.on('finish', () => {
      const { body } = this;
      if (!body || body.complete) return;
      // The answer is out. The client is told to stop (RFC 9113, 8.1), or what nobody reads is thrown away.
      if (this.failure) stream.close(NGHTTP2_NO_ERROR);
      else if (!body.opened) body.cancel();
    });
  }
}
