/**
 * wasi:http/{types,outgoing-handler}: requests to others. None is allowed: each is refused before anything is sent. The
 * refusal is the outcome of the request, not of handing it over: to that guests are made, and the other engine does so.
 */
import { Handle } from './handle.ts';
import { Fields } from './http-fields.ts';
import type { IncomingBody, Method } from './http-incoming.ts';
import { type BodySink, type ErrorCode, OutgoingBody } from './http-response.ts';
import { always, Pollable, throwClosed } from './io.ts';

/** The body of a request that will not be sent: nobody reads it. */
const unread: BodySink = {
  ready: () => true,
  room: throwClosed,
  write: throwClosed,
  flush: throwClosed,
  close() {},
  finish() {},
};

const refused: ErrorCode = { tag: 'HTTP-request-denied' };

export class OutgoingRequest extends Handle {
  readonly #headers: Fields;
  #method: Method = { tag: 'get' };
  #target: string | undefined;
  #scheme: Method | undefined;
  #authority: string | undefined;
  #taken = false;

  constructor(headers: Fields) {
    super();
    headers.release();
    this.#headers = Fields.freeze(headers);
  }

  body(): OutgoingBody {
    if (this.#taken) throw undefined;
    this.#taken = true;
    return new OutgoingBody(unread);
  }
  method(): Method {
    return this.#method;
  }
  setMethod(method: Method): void {
    this.#method = method;
  }
  pathWithQuery(): string | undefined {
    return this.#target;
  }
  setPathWithQuery(target: string | undefined): void {
    this.#target = target;
  }
  scheme(): Method | undefined {
    return this.#scheme;
  }
  setScheme(scheme: Method | undefined): void {
    this.#scheme = scheme;
  }
  authority(): string | undefined {
    return this.#authority;
  }
  setAuthority(authority: string | undefined): void {
    this.#authority = authority;
  }
  headers(): Fields {
    return Fields.view(this.#headers);
  }
}

export class RequestOptions extends Handle {
  #connect: bigint | undefined;
  #firstByte: bigint | undefined;
  #betweenBytes: bigint | undefined;

  connectTimeout(): bigint | undefined {
    return this.#connect;
  }
  setConnectTimeout(duration: bigint | undefined): void {
    this.#connect = duration;
  }
  firstByteTimeout(): bigint | undefined {
    return this.#firstByte;
  }
  setFirstByteTimeout(duration: bigint | undefined): void {
    this.#firstByte = duration;
  }
  betweenBytesTimeout(): bigint | undefined {
    return this.#betweenBytes;
  }
  setBetweenBytesTimeout(duration: bigint | undefined): void {
    this.#betweenBytes = duration;
  }
}

/** No guest gets one while every request is refused at once. */
export class IncomingResponse extends Handle {
  status(): number {
    throw refused;
  }
  headers(): Fields {
    throw refused;
  }
  consume(): IncomingBody {
    throw refused;
  }
}

export class FutureIncomingResponse extends Handle {
  #taken = false;

  subscribe(): Pollable {
    return new Pollable(always);
  }
  get(): unknown {
    if (this.#taken) return { tag: 'err', val: undefined };
    this.#taken = true;
    return { tag: 'ok', val: { tag: 'err', val: refused } };
  }
}

function handle(request: OutgoingRequest, options: RequestOptions | undefined): FutureIncomingResponse {
  request.release();
  options?.release();
  return new FutureIncomingResponse();
}

export const outgoingHandler = { 'wasi:http/outgoing-handler': { handle } };
