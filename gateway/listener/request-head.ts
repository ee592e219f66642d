/** Which of a client's headers reach a workload, and what they say about the request. */
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { FlatHeaders } from '../../runtime/exchange.ts';
import { gatewayErrors } from '../errors.ts';
import { CALLER } from './caller.ts';
import { connectionNamed, without } from './hop-by-hop.ts';
import { beginTrace, continueTrace } from './trace-context.ts';

/** Hop-by-hop headers and what the gateway sets itself: never passed on from a client. */
const NOT_FROM_CLIENT = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'expect',
  // Told to the workload by `Exchange.authority`.
  'host',
  // A client's word on these is not to be trusted, nor on any X-Forwarded-*.
  'forwarded',
  'x-request-id',
  CALLER,
  // Go on as what the gateway makes of them.
  'traceparent',
  'tracestate',
]);
const FORWARDED = 'x-forwarded-';

/** CGI and WSGI make the same variable of `X_Skerry_Caller`. */
function isLikeCaller(name: string): boolean {
  return name.length === CALLER.length && name.includes('_') && name.replaceAll('_', '-') === CALLER;
}

/** Fields that decide how a message is framed, routed or trusted have no meaning after it (RFC 9110, 6.5.1). */
const NOT_IN_TRAILERS = new Set([
  'content-length',
  'content-encoding',
  'content-type',
  'content-range',
  'authorization',
  'cookie',
]);

export interface ClientHead {
  /** For the workload, names in lower case. */
  headers: FlatHeaders;
  /** Declared body length in bytes, or null. */
  length: number | null;
  chunked: boolean;
  /** How many Host headers there were, and the last one. */
  hosts: number;
  host: string;
  /** `Expect`, in lower case; '' when there is none. */
  expect: string;
  /** Why the request is not served although it could be parsed; null when it is. */
  fault: SkerryError | null;
}

/** One pass over a client's raw headers, from index `from` on; more than `most` of them are refused. */
export function readClientHead(raw: readonly string[], from: number, most: number): ClientHead {
  const headers: string[] = [];
  const head: ClientHead = { headers, length: null, chunked: false, hosts: 0, host: '', expect: '', fault: null };
  if (raw.length - from > 2 * most) head.fault = gatewayErrors.HEADERS_TOO_LARGE(`${most} headers`);
  let named: Set<string> | null = null;
  let parent: string | null = null;
  let state: string | null = null;
  for (let i = from; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    const value = raw[i + 1] as string;
    if (NOT_FROM_CLIENT.has(name) || isLikeCaller(name)) {
      if (name === 'connection') named = connectionNamed(value, named);
      // Twice is as good as none: which one is meant cannot be told.
      else if (name === 'traceparent') parent = parent === null ? value : '';
      else if (name === 'tracestate') state = state === null ? value : `${state},${value}`;
      else readFraming(head, name, value);
      continue;
    }
    if (name.startsWith(FORWARDED)) continue;
    if (name === 'content-length') head.length = Number(value);
    headers.push(name, value);
  }
  if (named) head.headers = without(headers, named);
  pushTrace(head.headers, parent, state);
  return head;
}

function readFraming(head: ClientHead, name: string, value: string): void {
  if (name === 'host') {
    head.hosts++;
    head.host = value;
  } else if (name === 'expect') head.expect = value.toLowerCase();
  else if (name === 'transfer-encoding') {
    // Twice, or after another coding: what the workload would get is not what was meant.
    if (head.chunked || value.toLowerCase() !== 'chunked') head.fault ??= gatewayErrors.CODING_NOT_OFFERED(value);
    head.chunked = true;
  }
}

function pushTrace(headers: FlatHeaders, parent: string | null, state: string | null): void {
  const continued = parent === null ? null : continueTrace(parent);
  headers.push('traceparent', continued ?? beginTrace());
  // Without the trace that it belongs to it says nothing (Trace Context, 3.3).
  if (continued !== null && state !== null) headers.push('tracestate', state);
}

/** A client's trailers as the workload shall see them; null when nothing is left. */
export function clientTrailers(raw: readonly string[]): FlatHeaders | null {
  const trailers: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    if (NOT_FROM_CLIENT.has(name) || NOT_IN_TRAILERS.has(name) || name.startsWith(FORWARDED)) continue;
    trailers.push(name, raw[i + 1] as string);
  }
  return trailers.length > 0 ? trailers : null;
}

/** Host and port as RFC 3986 (3.2) writes them, without user information (RFC 9110, 4.2.4). */
const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::(\d{0,5}))?$/;
const MAX_PORT = 65_535;

/** Why an authority cannot be served, or null. */
export function authorityFault(authority: string): SkerryError | null {
  const match = AUTHORITY.exec(authority);
  if (!match) return gatewayErrors.BAD_REQUEST('its host is not a host name or address');
  return Number(match[1] ?? 0) <= MAX_PORT ? null : gatewayErrors.BAD_REQUEST('the port of its host is none');
}

/** What is not ASCII has no place in a path (RFC 3986, 3.3), and a fragment is not sent (RFC 9112, 3.2). */
const NOT_IN_TARGET = /[^\x21-\x7e]|#/;

/** Why a path and query cannot be served, or null. */
export function targetFault(url: string): SkerryError | null {
  return NOT_IN_TARGET.test(url) ? gatewayErrors.BAD_REQUEST('its path has a character that a URL may not have') : null;
}

/** The host of an authority: without port, in lower case. */
export function hostOf(authority: string): string {
  if (authority.startsWith('[')) {
    const close = authority.indexOf(']');
    return (close < 0 ? authority : authority.slice(0, close + 1)).toLowerCase();
  }
  const colon = authority.indexOf(':');
  const host = colon < 0 ? authority : authority.slice(0, colon);
  // With the dot of an absolute name (RFC 1034, 3.1) it is the same host.
  return (host.endsWith('.') ? host.slice(0, -1) : host).toLowerCase();
}
