/** Skerry's own answers: `application/problem+json` (RFC 9457) with a code and the request's id, never a stack. */
import type { SkerryError } from '../errors/skerry-error.ts';
import type { Exchange, FlatHeaders } from '../runtime/exchange.ts';

export function problemBody(error: SkerryError, requestId: string): string {
  return `${JSON.stringify({
    type: `urn:skerry:problem:${error.code}`,
    title: error.code.toLowerCase().replaceAll('_', ' '),
    status: error.status,
    detail: error.what,
    code: error.code,
    fix: error.fix,
    requestId,
  })}\n`;
}

export function problemHeaders(error: SkerryError, requestId: string): FlatHeaders {
  const headers = ['content-type', 'application/problem+json', 'cache-control', 'no-store', 'x-request-id', requestId];
  if (error.retryAfter !== undefined) headers.push('retry-after', String(error.retryAfter));
  return headers;
}

/** Answers with the problem, or breaks the transfer when the answer has begun: no client may take it for whole. */
export function sendProblem(exchange: Pick<Exchange, 'id' | 'reply'>, error: SkerryError): void {
  const { reply } = exchange;
  if (reply.ended) return;
  if (reply.started) reply.abort(error);
  else reply.send(error.status, problemHeaders(error, exchange.id), Buffer.from(problemBody(error, exchange.id)));
}
