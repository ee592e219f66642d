/**
 * A blob told by another one, its base: zstd with the base as its dictionary, in the form `dcz`, which names the base.
 * https://www.rfc-editor.org/rfc/rfc9842#name-dictionary-compressed-zstan
 */
import { type ContentStore, type StoredBlob, splitDigest } from '../store/index.ts';
import { deltaErrors } from './errors.ts';
import { runProgram } from './program.ts';

/** Of what is sent, in bytes: it is in memory, here and there. */
export const MAX_DELTA_BYTES = 4 * 2 ** 20;
/** Of a blob and of a base, in bytes; `native/delta` has the same limit. A small blob is sent as soon as asked about. */
export const MAX_BLOB_BYTES = 64 * 2 ** 20;
const MIN_BLOB_BYTES = 64 * 1024;
/** More than this of a blob is not worth the base's reading. */
const WORTHWHILE = 0.5;

/** A skippable frame of zstd with the digest of the dictionary. */
const MAGIC = Buffer.from('5e2a4d1820000000', 'hex');
const HEADER_BYTES = MAGIC.length + 32;

/** Whether one blob may be told by another of this kind: what is compressed has nothing in common with anything. */
export function mayDiffer({ mediaType, digest, size }: { mediaType: string; digest: string; size: number }): boolean {
  if (size < MIN_BLOB_BYTES || size > MAX_BLOB_BYTES || !digest.startsWith('sha256:')) return false;
  return mediaType === 'application/wasm' || mediaType.endsWith('.tar');
}

/** Null when it cannot be made, or is not worth it. */
export async function makeDelta(store: ContentStore, digest: string, base: string): Promise<Buffer | null> {
  try {
    const [from, to] = [await store.open(base), await store.open(digest)];
    if (Math.max(from.size, to.size) > MAX_BLOB_BYTES) return null;
    const limit = Math.min(MAX_DELTA_BYTES, Math.floor(to.size * WORTHWHILE));
    const frame = await runProgram(['encode', from.path, to.path], Buffer.alloc(0), (output) => atMost(output, limit));
    return frame && Buffer.concat([MAGIC, Buffer.from(splitDigest(base).hex, 'hex'), frame]);
  } catch {
    // Whatever it is, the whole blob can be sent.
    return null;
  }
}

async function atMost(output: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer | null> {
  const pieces: Uint8Array[] = [];
  let bytes = HEADER_BYTES;
  for await (const piece of output) {
    bytes += piece.length;
    if (bytes > limit) return null;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Digest of the blob that it needs. Throws DELTA_INVALID. */
export function baseOf(delta: Buffer): string {
  if (delta.length <= HEADER_BYTES || !delta.subarray(0, MAGIC.length).equals(MAGIC))
    throw deltaErrors.DELTA_INVALID('it does not begin as one');
  return `sha256:${delta.toString('hex', MAGIC.length, HEADER_BYTES)}`;
}

/**
 * Stores the blob that a delta stands for. Who sent it is not trusted: no more than `size` bytes are ever written, in
 * bounded memory and time, from no other base than the allowed ones, and nothing is kept unless it has the digest. Throws DELTA_INVALID, DELTA_UNAVAILABLE,
 * DIGEST_MISMATCH, BLOB_MISSING, and the errors of the content store.
 */
export async function applyDelta(
  store: ContentStore,
  delta: Buffer,
  { digest, size }: { readonly digest: string; readonly size: number },
  allowed: readonly string[],
): Promise<StoredBlob> {
  const named = baseOf(delta);
  if (!allowed.includes(named)) throw deltaErrors.DELTA_INVALID('its base is none that was offered');
  const base = await store.open(named);
  if (Math.max(base.size, size) > MAX_BLOB_BYTES) throw deltaErrors.DELTA_INVALID('it is about too long a blob');
  return runProgram(['decode', base.path, String(size)], delta.subarray(HEADER_BYTES), (output) =>
    store.putStream(output, { expectedDigest: digest, maxBytes: size }),
  );
}
