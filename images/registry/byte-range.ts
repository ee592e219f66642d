/** One range of bytes, both ends counted from 0 and with them. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

const DIGITS = 15;

/**
 * The Range of a request (RFC 9110, 14.2) for a blob of so many bytes; null when it asks for all of it. Several ranges at
 * once may be answered by all, and are.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'unsatisfiable' | null {
  if (header === undefined || header.includes(',')) return null;
  const match = new RegExp(`^bytes=(\\d{0,${DIGITS}})-(\\d{0,${DIGITS}})$`).exec(header.trim());
  if (!match || (match[1] === '' && match[2] === '')) return null;
  const [, from = '', to = ''] = match;
  const first = from === '' ? Math.max(0, size - Number(to)) : Number(from);
  const last = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1);
  if (first > last || (from === '' && Number(to) === 0)) return 'unsatisfiable';
  return { first, last };
}

/** The Content-Range of a chunk, as the distribution specification writes it: `FIRST-LAST`; null when it is something else. */
export function parseChunkRange(header: string): ByteRange | null {
  const match = new RegExp(`^(\\d{1,${DIGITS}})-(\\d{1,${DIGITS}})$`).exec(header.trim());
  if (!match) return null;
  const range = { first: Number(match[1]), last: Number(match[2]) };
  return range.first > range.last ? null : range;
}
