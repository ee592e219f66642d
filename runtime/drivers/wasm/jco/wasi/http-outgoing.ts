/** wasi:http/{types,outgoing-handler}: the requests that a guest makes of others. */
import { uploadWindow } from '../guest-call-protocol.ts';
import { currentRun } from './current-run.ts';
import { Handle } from './handle.ts';
import { Fields } from './http-fields.ts';
import type { Method } from './http-incoming.ts';
import { FutureIncomingResponse } from './http-incoming-response.ts';
import { OutgoingBody } from './http-response.ts';
import { OutboundCall, type OutboundHead } from './outbound-call.ts';
import { Upload } from './upload.ts';

/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 3986, section 3.1. */
const schemeName = /^[A-Za-z][A-Za-z0-9+\-.]*$/;
const authorityText = /^[^\s/?#]+$/;
const targetText = /^[^\s#]*$/;

const nanosPerMs = 1_000_000n;

export class OutgoingRequest extends Handle {
  readonly #headers: Fields;
  #method: Method = { tag: 'get' };
  #target: string | undefined;
  #scheme: Method | undefined;
  #authority: string | undefined;
  #upload: Upload | null = null;

  constructor(headers: Fields) {
    super();
    headers.release();
    this.#headers = Fields.freeze(headers);
    this.charge(Fields.bytes(headers));
  }

  body(): OutgoingBody {
    if (this.#upload) throw undefined;
    // What it may keep until the request is sent.
    this.charge(uploadWindow);
    this.#upload = new Upload(Fields.contentLength(this.#headers));
    return new OutgoingBody(this.#upload);
  }
  method(): Method {
    return this.#method;
  }
  setMethod(method: Method): void {
    if (method.tag === 'other' && !token.test(method.val!)) throw undefined;
    this.charge((method.val?.length ?? 0) - (this.#method.val?.length ?? 0));
    this.#method = method;
  }
  pathWithQuery(): string | undefined {
    return this.#target;
  }
  setPathWithQuery(target: string | undefined): void {
    if (target !== undefined && !targetText.test(target)) throw undefined;
    this.charge((target?.length ?? 0) - (this.#target?.length ?? 0));
    this.#target = target;
  }
  scheme(): Method | undefined {
    return this.#scheme;
  }
  setScheme(scheme: Method | undefined): void {
    if (scheme?.tag === 'other' && !schemeName.test(scheme.val!)) throw undefined;
    this.charge((scheme?.val?.length ?? 0) - (this.#scheme?.val?.length ?? 0));
    this.#scheme = scheme;
  }
  authority(): string | undefined {
    return this.#authority;
  }
  setAuthority(authority: string | undefined): void {
    if (authority !== undefined && !authorityText.test(authority)) throw undefined;
    this.charge((authority?.length ?? 0) - (this.#authority?.length ?? 0));
    this.#authority = authority;
  }
  headers(): Fields {
    return Fields.view(this.#headers);
  }

  /** Hands it over. What is wrong with it is the outcome of the request: to that guests are made. */
  static send(request: OutgoingRequest, options: RequestOptions | undefined): OutboundCall {
    const scheme = request.#scheme?.tag ?? 'HTTPS';
    const origin = `${scheme.toLowerCase()}://${request.#authority}`;
    const call = new OutboundCall(currentRun().calls, request.#upload, origin);
    if (scheme === 'other') call.refuse('HTTP-protocol-error');
    else if (!request.#authority) call.refuse('HTTP-request-URI-invalid');
    else call.send(request.#head(scheme === 'HTTP' ? 'http' : 'https', request.#authority, options));
    return call;
  }

  #head(scheme: 'http' | 'https', authority: string, options: RequestOptions | undefined): OutboundHead {
    const { tag, val } = this.#method;
    return {
      method: val ?? tag.toUpperCase(),
      scheme,
      authority,
      target: this.#target ?? '',
      headers: Fields.flat(this.#headers),
      timeouts: {
        connectMs: milliseconds(options?.connectTimeout()),
        firstByteMs: milliseconds(options?.firstByteTimeout()),
        betweenBytesMs: milliseconds(options?.betweenBytesTimeout()),
      },
    };
  }
}

/** Zero would be no time at all; the main thread's clock has no finer unit. */
function milliseconds(nanos: bigint | undefined): number | null {
  if (nanos === undefined) return null;
  return nanos < nanosPerMs ? 1 : Number(nanos / nanosPerMs);
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

function handle(request: OutgoingRequest, options: RequestOptions | undefined): FutureIncomingResponse {
  const call = OutgoingRequest.send(request, options);
  request.release();
  options?.release();
  return new FutureIncomingResponse(call);
}

export const outgoingHandler = { 'wasi:http/outgoing-handler': { handle } };
