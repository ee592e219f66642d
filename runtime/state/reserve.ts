import { closeSync, fstatSync, ftruncateSync, openSync, statfsSync, writeSync } from 'node:fs';
import { usedPages } from './data-file.ts';

/*
 * LMDB must not meet a full disk: when a write fails, the version in the `lmdb` package formats its message into a buffer
 * that is too short for it, and so damages the heap of the process. Also a commit that fails half-way is worse than one
 * that never began. So before each commit the data file is made long enough for whatever the commit may append, by
 * writing zeros past its end. The file system gives the room then, or says ENOSPC, EDQUOT or EFBIG here, where it is
 * understood. LMDB does not mind a file that is longer than what it uses, and later commits fill it.
 */

/** Beyond what is needed, so that not every commit extends the file. In bytes. */
const chunkBytes = 256 * 1024;

/** The freed pages that a commit lists, the path to the root, and some. */
const basePages = 32;
/** Pages on the way to one record, when each must be copied, and a split of each. */
const pagesPerRecord = 6;
/** Leaves may be half full or less, and a copy of each is made. */
const spread = 4;

/** Kept free by all commits but those that only remove: a full disk must not be in the way of making room. */
const pagesForRemoving = 64;

/**
 * File systems that take new blocks for old bytes too (btrfs, ZFS, bcachefs): there the room in the file promises
 * nothing, and some must be free on the disk. https://man7.org/linux/man-pages/man2/statfs.2.html
 */
const copyOnWrite = new Set([0x9123683e, 0x2fc12fc1, 0xca451a4e]);

class NoRoom extends Error {
  readonly errno = 28;
  readonly code = 'ENOSPC';
}

/** What a commit does, as far as its need of room goes. */
export interface Demand {
  readonly records: number;
  /** Of the keys and values together. */
  readonly bytes: number;
  readonly onlyRemoves: boolean;
}

/** Makes sure that the commit finds room in the file. Throws what the file system says (ENOSPC, EDQUOT, EFBIG, EIO). */
export function reserve(dataFile: string, { records, bytes, onlyRemoves }: Demand): void {
  const file = openSync(dataFile, 'r+');
  try {
    const { pageBytes, pages } = usedPages(file);
    const copied = Math.min(pagesPerRecord * records, pages);
    const appended = basePages + copied + spread * Math.ceil(bytes / pageBytes) + (onlyRemoves ? 0 : pagesForRemoving);
    const needed = appended * pageBytes;
    const { type, bavail, bsize } = statfsSync(dataFile);
    if (copyOnWrite.has(type) && bavail * bsize < needed) throw new NoRoom('no space left on device');
    const size = fstatSync(file).size;
    const end = pages * pageBytes + needed;
    if (size >= end) return;
    try {
      extend(file, size, end + chunkBytes);
    } catch {
      extend(file, size, end);
    }
  } finally {
    closeSync(file);
  }
}

/** Writes zeros from `size` to `end`; when it throws, the file is as it was. */
function extend(file: number, size: number, end: number): void {
  const zeros = Buffer.alloc(Math.min(end - size, chunkBytes));
  try {
    for (let at = size; at < end; ) at += writeSync(file, zeros, 0, Math.min(zeros.length, end - at), at);
  } catch (error) {
    ftruncateSync(file, size);
    throw error;
  }
}
