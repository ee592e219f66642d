import type { FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';

/** Of one read and one write, in bytes; two of them are under way, one each. */
const PIECE_BYTES = 512 * 1024;

/**
 * Writes the bytes from `first` to `last` of a file, reading the next ones while the last are sent, in memory that is used
 * again and again. Rejects when the file ends before, when it cannot be read, and when the reader has gone.
 */
export async function sendFile(file: FileHandle, first: number, last: number, to: Writable): Promise<void> {
  const size = Math.min(PIECE_BYTES, last - first + 1);
  const buffers = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)];
  let sending: Promise<void> = Promise.resolve();
  for (let position = first, i = 0; position <= last; i++) {
    const buffer = buffers[i % 2] as Buffer;
    const { bytesRead } = await file.read(buffer, 0, Math.min(size, last - position + 1), position);
    if (bytesRead === 0) throw new Error(`the file ends at ${position} in place of ${last + 1}`);
    position += bytesRead;
    await sending;
    sending = written(to, buffer.subarray(0, bytesRead));
    // It is awaited in the next round: a failure in between is no unhandled one.
    sending.catch(() => {});
  }
  await sending;
}

/** Rejects when the reader has gone. */
export function written(to: Writable, piece: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    // A reader that goes leaves what is being written without a word.
    const gone = () => reject(new Error('the reader has gone'));
    if (to.destroyed) return gone();
    to.once('close', gone);
    to.write(piece, (error) => {
      to.removeListener('close', gone);
      if (error) reject(error);
      else resolve();
    });
  });
}
