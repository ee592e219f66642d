/** Lists in pages: `n` entries behind `last`. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags */
import type { Context } from 'hono';
import { registryErrors } from './errors.ts';

/** The page that is asked for, of entries in order; a Link to the next one gets into the answer's head. Throws PAGE_INVALID. */
export function page(c: Context, entries: readonly string[]): string[] {
  const { n, last } = c.req.query();
  if (n !== undefined && !/^\d{1,9}$/.test(n)) throw registryErrors.PAGE_INVALID(n);
  const rest = last === undefined ? [...entries] : entries.filter((entry) => entry > last);
  const size = n === undefined ? rest.length : Number(n);
  const shown = rest.slice(0, size);
  if (shown.length > 0 && shown.length < rest.length) {
    const next = new URLSearchParams({ n: String(size), last: shown.at(-1)! });
    c.header('link', `<${new URL(c.req.url).pathname}?${next}>; rel="next"`);
  }
  return shown;
}
