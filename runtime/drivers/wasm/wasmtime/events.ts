/**
 * The events that the native engine sends, all that happened since the last call in one buffer. Its other half, and
 * the description of the format, is native/wasm/src/outbox.rs.
 */
import type { FlatHeaders } from '../../../exchange.ts';

export const flag = {
  head: 1,
  end: 2,
  fail: 4,
  done: 8,
  resume: 16,
  unwanted: 32,
  stdout: 64,
  stderr: 128,
  job: 256,
  warning: 512,
  call: 1024,
} as const;

export interface NativeEvent {
  /** The request's slot, or the ticket of a job. */
  readonly slot: number;
  readonly flags: number;
  /** Of the answer, or a code of `failures.ts`, or the number of a call. */
  readonly status: number;
  /** Packed headers, or the detail of a failure. */
  readonly head: string;
  readonly body: Buffer | null;
  /** Packed. */
  readonly trailers: string;
}

const WORDS = 24;

/** Calls `take` for each event of a buffer, in order. Bodies are views of the buffer: nobody writes to it again. */
export function readEvents(buffer: Buffer, take: (event: NativeEvent) => void): void {
  let at = 0;
  while (at + WORDS <= buffer.length) {
    const flags = buffer.readUInt32LE(at + 4);
    const head = at + WORDS;
    const body = head + buffer.readUInt32LE(at + 12);
    const trailers = body + buffer.readUInt32LE(at + 16);
    const end = trailers + buffer.readUInt32LE(at + 20);
    // Answers are bytes; what the engine says itself is UTF-8.
    const encoding = flags & (flag.fail | flag.job | flag.warning) ? 'utf8' : 'latin1';
    take({
      slot: buffer.readUInt32LE(at),
      flags,
      status: buffer.readUInt32LE(at + 8),
      head: head === body ? '' : buffer.toString(encoding, head, body),
      body: body === trailers ? null : buffer.subarray(body, trailers),
      trailers: trailers === end ? '' : buffer.toString('latin1', trailers, end),
    });
    at = (end + 3) & ~3;
  }
}

/** Headers as they cross: names and values separated by line feeds, which neither can hold. */
export function packHeaders(headers: FlatHeaders): string {
  return headers.join('\n');
}

export function unpackHeaders(packed: string): FlatHeaders {
  return packed === '' ? [] : packed.split('\n');
}
