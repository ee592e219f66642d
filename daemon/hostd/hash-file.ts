import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';

const PIECE = 1024 * 1024;

/**
 * The digest of an open file, from its beginning. `take` is given each piece.
 * @throws RangeError it has more than `most` bytes
 */
export async function hashFile(
  file: Pick<FileHandle, 'read'>,
  most = Number.POSITIVE_INFINITY,
  take: (piece: Buffer) => Promise<unknown> | undefined = () => {},
): Promise<{ readonly digest: string; readonly bytes: number }> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(PIECE);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(buffer, 0, PIECE, at);
    if (bytesRead === 0) return { digest: `sha256:${hash.digest('hex')}`, bytes: at };
    at += bytesRead;
    if (at > most) throw new RangeError(`more than ${most} bytes`);
    const piece = buffer.subarray(0, bytesRead);
    hash.update(piece);
    await take(piece);
  }
}
