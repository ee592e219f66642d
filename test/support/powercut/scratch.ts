import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A new folder, in memory where this machine has such a file system: a killed process loses nothing that it wrote, to
 * whatever disk, and a modelled power cut happens before the disk is made. Syncing costs nothing there.
 */
export function scratchInMemory(prefix: string): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), prefix));
}
