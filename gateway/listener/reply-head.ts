/** Which of a workload's headers reach a client. */
import type { FlatHeaders } from '../../runtime/exchange.ts';
import { connectionNamed, without } from './hop-by-hop.ts';

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

const TRAILER: ReadonlySet<string> = new Set(['trailer']);

/** In bytes: less than the 64 KiB that nghttp2 sends in one block, and more than most clients take. */
const MAX_BYTES = 48 * 1024;

/** Throws when headers or trailers are larger than an answer's may be. */
export function checkSize(headers: FlatHeaders): void {
  let bytes = 0;
  for (const text of headers) bytes += text.length;
  if (bytes > MAX_BYTES) throw new RangeError(`its headers are larger than ${MAX_BYTES / 1024}KiB`);
}

export interface ReplyHead {
  readonly headers: FlatHeaders;
  /** Declared body length in bytes, or null. */
  readonly length: number | null;
}

/** An answer that has no body whatever its headers say (RFC 9110, 6.4.1 and 15.3.6). */
export function bodyForbidden(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

/**
 * A workload's headers as they go to the client: hop-by-hop ones dropped, the request's id added. Throws when they are
 * no head of a final answer. `trailers`: as far as the gateway knows, some may follow the body.
 */
export function replyHead(status: number, from: FlatHeaders, requestId: string, trailers: boolean): ReplyHead {
  // RFC 9110, 15.
  if (!(status >= 200 && status <= 599)) throw new RangeError(`${status} is no status of a final answer`);
  checkSize(from);
  let headers: string[] = [];
  let named: Set<string> | null = null;
  let length: string | null = null;
  let trailer = false;
  for (let i = 0; i < from.length; i += 2) {
    const name = from[i] as string;
    const value = from[i + 1] as string;
    const lower = name.toLowerCase();
    if (lower === 'connection') named = connectionNamed(value, named);
    if (NOT_FROM_WORKLOAD.has(lower)) continue;
    if (lower === 'content-length') {
      // Neither has a body, and so no length of one (RFC 9110, 8.6 and 15.3.6).
      if (status === 204 || status === 205) continue;
      if (length === value) continue;
      if (length !== null || !/^\d{1,15}$/.test(value)) throw new RangeError('its Content-Length is not one length');
      length = value;
    }
    if (lower === 'trailer') trailer = true;
    headers.push(name, value);
  }
  // HTTP/1.1 has trailers after a chunked body alone, and Node refuses to announce others.
  if (trailer && !(trailers && length === null && !bodyForbidden(status))) headers = without(headers, TRAILER);
  if (named) headers = without(headers, named);
  headers.push('x-request-id', requestId);
  return { headers, length: length === null ? null : Number(length) };
}
