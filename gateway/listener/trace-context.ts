/**
 * W3C Trace Context (https://www.w3.org/TR/trace-context/). The gateway is a step of its own in a client's trace: the
 * workload gets the trace's id with a new parent id. Without a valid `traceparent` it begins a trace, marked as not
 * sampled because the gateway records nothing itself.
 */
import { randomBytes } from 'node:crypto';

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
const TRACE_DIGITS = NO_TRACE.length;
const SPAN_DIGITS = NO_SPAN.length;

/** Randomness is cheap by the page, not by the piece. */
const POOL_BYTES = 16 * 1024;
let pool = '';
let used = 0;

function randomHex(digits: number): string {
  if (used + digits > pool.length) {
    pool = randomBytes(POOL_BYTES).toString('hex');
    used = 0;
  }
  used += digits;
  return pool.slice(used - digits, used);
}

/** What a valid `traceparent` becomes for the next step; null when it is not valid. */
export function continueTrace(traceparent: string): string | null {
  const match = TRACEPARENT.exec(traceparent);
  if (!match) return null;
  const [, version, trace, span, flags, more] = match;
  if (version === 'ff' || trace === NO_TRACE || span === NO_SPAN) return null;
  if (version === '00') return more === undefined ? `00-${trace}-${randomHex(SPAN_DIGITS)}-${flags}` : null;
  // Of later versions only what this one knows: whether the trace is sampled (4.1, "Versioning of traceparent").
  const sampled = Number.parseInt(flags as string, 16) & 1;
  return `00-${trace}-${randomHex(SPAN_DIGITS)}-0${sampled}`;
}

export function beginTrace(): string {
  return `00-${randomHex(TRACE_DIGITS)}-${randomHex(SPAN_DIGITS)}-00`;
}
