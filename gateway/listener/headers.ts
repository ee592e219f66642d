/** Which headers pass the gateway, and which it sets itself. */
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { FlatHeaders } from '../../runtime/exchange.ts';
import { gatewayErrors } from '../errors.ts';

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
  // A client's word on these is not to be trusted, nor on any X-Forwarded-*.
  'forwarded',
  'x-request-id',
]);
const FORWARDED = 'x-forwarded-';

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

/** Most headers of a request. */
const MAX_HEADERS = 200;

export interface ClientHead {
  /** For the workload, names in lower case. */
  headers: FlatHeaders;
  /** Declared body length in bytes, or null. */
  length: number | null;
  chunked: boolean;
  /** How many Host headers there were. */
  hosts: number;
  /** Why the request is not served although it could be parsed; null when it is. */
  fault: SkerryError | null;
}

/** Headers named by `Connection` are hop-by-hop too; as before when it names none but the usual two. */
function connectionNamed(value: string, before: Set<string> | null): Set<string> | null {
  const lower = value.toLowerCase();
  if (lower === 'keep-alive' || lower === 'close') return before;
  return new Set([...(before ?? []), ...lower.split(',').map((name) => name.trim())]);
}

function without(headers: FlatHeaders, names: Set<string>): FlatHeaders {
  const kept: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!names.has(name.toLowerCase())) kept.push(name, headers[i + 1] as string);
  }
  return kept;
}

/** One pass over a client's raw headers. */
export function readClientHead(raw: readonly string[]): ClientHead {
  const headers: string[] = [];
  let length: number | null = null;
  let chunked = false;
  let hosts = 0;
  let named: Set<string> | null = null;
  let fault: SkerryError | null =
    raw.length > 2 * MAX_HEADERS ? gatewayErrors.HEADERS_TOO_LARGE(`${MAX_HEADERS} headers`) : null;
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    const value = raw[i + 1] as string;
    if (NOT_FROM_CLIENT.has(name)) {
      if (name === 'host') hosts++;
      else if (name === 'connection') named = connectionNamed(value, named);
      else if (name === 'transfer-encoding') {
        // Twice, or after another coding: what the workload would get is not what was meant.
        if (chunked || value.toLowerCase() !== 'chunked') fault ??= gatewayErrors.CODING_NOT_OFFERED(value);
        chunked = true;
      }
      continue;
    }
    if (name.startsWith(FORWARDED)) continue;
    if (name === 'content-length') length = Number(value);
    headers.push(name, value);
  }
  return { headers: named ? without(headers, named) : headers, length, chunked, hosts, fault };
}

/** A workload's headers as they go to the client: hop-by-hop ones dropped, the request's id added. */
export function replyHeaders(status: number, from: FlatHeaders, requestId: string): FlatHeaders {
  let headers: string[] = [];
  let named: Set<string> | null = null;
  for (let i = 0; i < from.length; i += 2) {
    const name = from[i] as string;
    const lower = name.toLowerCase();
    if (lower === 'connection') named = connectionNamed(from[i + 1] as string, named);
    // A 204 has no body and so no length of one (RFC 9110, 8.6).
    if (NOT_FROM_WORKLOAD.has(lower) || (status === 204 && lower === 'content-length')) continue;
    headers.push(name, from[i + 1] as string);
  }
  if (named) headers = without(headers, named);
  headers.push('x-request-id', requestId);
  return headers;
}
