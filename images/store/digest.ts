import { createHash, type Hash } from 'node:crypto';
import { imageErrors } from '../errors.ts';

/** https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md#digests, the one algorithm that every client has. */
const grammar = /^sha256:[a-f0-9]{64}$/;

export function isDigest(text: string): boolean {
  return grammar.test(text);
}

/** The 64 hex digits. Throws DIGEST_INVALID: nothing else may ever become part of a path. */
export function digestHex(digest: string): string {
  if (!isDigest(digest)) throw imageErrors.DIGEST_INVALID(String(digest));
  return digest.slice('sha256:'.length);
}

export function startDigest(): Hash {
  return createHash('sha256');
}

export function endDigest(hash: Hash): string {
  return `sha256:${hash.digest('hex')}`;
}

export function digestOf(data: Uint8Array): string {
  return endDigest(startDigest().update(data));
}

export async function digestOfStream(source: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = startDigest();
  for await (const piece of source) hash.update(piece);
  return endDigest(hash);
}
