/** Headers and trailers of an answer as the guest gets them. */
import type { FlatHeaders } from '../exchange.ts';

/** What undici hands over: names and values in turn, or trailers of HTTP/2 as Node's object. */
export type RawFields = readonly (Buffer | string)[] | NodeJS.Dict<string | string[]> | null | undefined;

/** Of the connection between the node and the server (RFC 9110, section 7.6.1). */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade']);

/** Names in lower case; repeated ones kept, in their order. */
export function flatten(raw: RawFields, encoding: 'latin1' | 'utf8'): FlatHeaders {
  if (!raw) return [];
  if (!Array.isArray(raw)) {
    return Object.entries(raw as NodeJS.Dict<string | string[]>).flatMap(([name, value]) =>
      [value ?? []].flat().flatMap((each) => [name.toLowerCase(), each]),
    );
  }
  return raw.map((field, i) => {
    const text = typeof field === 'string' ? field : field.toString(encoding);
    return i % 2 === 0 ? text.toLowerCase() : text;
  });
}

/** Without what is the connection's, and without what `Connection` names. */
export function endToEnd(headers: FlatHeaders): FlatHeaders {
  const named = new Set<string>();
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== 'connection') continue;
    for (const option of (headers[i + 1] as string).split(',')) named.add(option.trim().toLowerCase());
  }
  const kept: FlatHeaders = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!HOP_BY_HOP.has(name) && !named.has(name)) kept.push(name, headers[i + 1] as string);
  }
  return kept;
}
