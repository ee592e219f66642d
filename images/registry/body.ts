import type { Context } from 'hono';
import type { RegistryEnv } from './context.ts';
import { registryErrors } from './errors.ts';

/** All of a small body. Throws MANIFEST_TOO_LARGE beyond `maxBytes`; no more than that is ever kept. */
export async function readBody(c: Context<RegistryEnv>, maxBytes: number): Promise<Buffer> {
  const { incoming } = c.env;
  if (Number(incoming.headers['content-length'] ?? 0) > maxBytes) throw registryErrors.MANIFEST_TOO_LARGE(maxBytes);
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of incoming.iterator({ destroyOnReturn: false })) {
    bytes += piece.length;
    if (bytes > maxBytes) throw registryErrors.MANIFEST_TOO_LARGE(maxBytes);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
