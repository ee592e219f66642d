import type { FlatHeaders } from '../exchange.ts';
import type { EgressRequest } from './egress.ts';
import { EgressFailure } from './failure.ts';
import { type Host, parseHostAndPort, withoutUserinfo } from './host.ts';
import { EGRESS_LIMITS } from './limits.ts';

/** A request that was checked. */
export interface RequestHead {
  readonly host: Host;
  readonly port: number;
  /** Never empty. */
  readonly target: string;
  readonly headers: FlatHeaders;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 3986 leaves fewer; what a function builds from old URLs has Latin-1 and quotes in it. */
const TARGET = /^\/[\x21\x22\x24-\x7e\x80-\xff]*$/;

/** Of one connection and not of the request (RFC 9110, section 7.6.1), or the client's own to set. */
const REFUSED = new Set([
  'connection',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** Throws an EgressFailure that says what a guest may not send. */
export function checkRequestHead(request: EgressRequest): RequestHead {
  const { method, scheme, authority } = request;
  if (!TOKEN.test(method) || method === 'CONNECT') {
    throw new EgressFailure('HTTP-request-method-invalid', `${method} is not a method that can be sent`);
  }
  const destination = parseHostAndPort(authority);
  if (!destination)
    throw new EgressFailure('HTTP-request-URI-invalid', `${withoutUserinfo(authority)} is not HOST[:PORT]`);
  const target = request.target === '' || request.target.startsWith('?') ? `/${request.target}` : request.target;
  if (target.length > EGRESS_LIMITS.targetBytes) {
    throw new EgressFailure('HTTP-request-URI-too-long', `path and query have ${target.length} bytes`);
  }
  if (!TARGET.test(target))
    throw new EgressFailure('HTTP-request-URI-invalid', 'path and query are not those of a URL');
  const port = destination.port ?? (scheme === 'https' ? 443 : 80);
  return { host: destination.host, port, target, headers: checkHeaders(request) };
}

function checkHeaders({ headers, body }: EgressRequest): FlatHeaders {
  const checked: FlatHeaders = [];
  let size = 0;
  let length: string | null = null;
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase();
    const value = headers[i + 1] as string;
    size += name.length + value.length + 4;
    if (REFUSED.has(name) || (name === 'te' && value.toLowerCase() !== 'trailers')) {
      throw new EgressFailure('HTTP-request-denied', `a function may not send the header ${name}`);
    }
    if (name === 'content-length') {
      if (length !== null || !/^\d{1,15}$/.test(value)) {
        throw new EgressFailure('HTTP-request-body-size', 'Content-Length is not one whole number');
      }
      length = value;
    } else checked.push(name, value);
  }
  if (size > EGRESS_LIMITS.requestHeaderBytes) {
    throw new EgressFailure('HTTP-request-header-section-size', `the headers have ${size} bytes`);
  }
  const known = body === null ? 0 : body.length;
  if (length !== null && known !== null && Number(length) !== known) {
    throw new EgressFailure('HTTP-request-body-size', `Content-Length says ${length}, and the body has ${known} bytes`);
  }
  const sent = length ?? (known !== null && body !== null ? String(known) : null);
  if (sent !== null && body !== null) checked.push('content-length', sent);
  return checked;
}
