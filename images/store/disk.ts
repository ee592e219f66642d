import { open } from 'node:fs/promises';
import { SkerryError } from '../../errors/skerry-error.ts';
import { imageErrors } from '../errors.ts';

/** Makes the names in a folder survive a power cut: `fsync` of a file does not cover the entry that names it. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const noRoom = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const noRight = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR']);

/** What a failed call of the file system means for the user. */
export function explain(folder: string, error: unknown): SkerryError {
  if (error instanceof SkerryError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (noRoom.has(code)) return imageErrors.STORE_DISK_FULL(folder).because(error);
  if (noRight.has(code)) return imageErrors.STORE_NOT_WRITABLE(folder, code).because(error);
  return imageErrors.STORE_FAILED(folder, message).because(error);
}
