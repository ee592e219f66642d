/** Headers that are between two neighbours and go no further (RFC 9110, 7.6.1). */
import type { FlatHeaders } from '../../runtime/exchange.ts';

/** Headers named by `Connection` are hop-by-hop too; as before when it names none but the usual two. */
export function connectionNamed(value: string, before: Set<string> | null): Set<string> | null {
  const lower = value.toLowerCase();
  if (lower === 'keep-alive' || lower === 'close') return before;
  return new Set([...(before ?? []), ...lower.split(',').map((name) => name.trim())]);
}

export function without(headers: FlatHeaders, names: ReadonlySet<string>): FlatHeaders {
  const kept: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!names.has(name.toLowerCase())) kept.push(name, headers[i + 1] as string);
  }
  return kept;
}
