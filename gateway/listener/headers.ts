/** Which headers pass the gateway, and which it sets itself. */
import type { FlatHeaders } from '../../runtime/exchange.ts';

/** Hop-by-hop headers (RFC 9110, 7.6.1) and what the gateway sets itself: never passed on from a client. */
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
  // A client's word on these is not to be trusted.
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-prefix',
  'x-request-id',
]);

/** What a workload may not say about the connection, which is the gateway's. */
const NOT_FROM_WORKLOAD = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'x-request-id',
]);

export interface ClientHead {
  /** For the workload, names in lower case. */
  headers: FlatHeaders;
  /** Declared body length in bytes, or null. */
  length: number | null;
  chunked: boolean;
}

/** Headers named by `Connection` are hop-by-hop too; null when it names none but the usual two. */
function connectionNamed(value: string): Set<string> | null {
  const lower = value.toLowerCase();
  if (lower === 'keep-alive' || lower === 'close') return null;
  return new Set(lower.split(',').map((name) => name.trim()));
}

/** One pass over a client's raw headers. */
export function readClientHead(raw: readonly string[]): ClientHead {
  const headers: string[] = [];
  let length: number | null = null;
  let chunked = false;
  let named: Set<string> | null = null;
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    const value = raw[i + 1] as string;
    if (NOT_FROM_CLIENT.has(name)) {
      if (name === 'transfer-encoding') chunked = true;
      else if (name === 'connection') named = connectionNamed(value);
      continue;
    }
    if (name === 'content-length') length = Number(value);
    headers.push(name, value);
  }
  if (!named) return { headers, length, chunked };
  const kept: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if (!named.has(headers[i] as string)) kept.push(headers[i] as string, headers[i + 1] as string);
  }
  return { headers: kept, length, chunked };
}

/** A workload's headers as they go to the client: hop-by-hop ones dropped, the request's id added. */
export function replyHeaders(from: FlatHeaders, requestId: string): FlatHeaders {
  const headers: string[] = [];
  for (let i = 0; i < from.length; i += 2) {
    const name = from[i] as string;
    if (!NOT_FROM_WORKLOAD.has(name.toLowerCase())) headers.push(name, from[i + 1] as string);
  }
  headers.push('x-request-id', requestId);
  return headers;
}
