/** Builders that run a program and keep its state: how the same source comes out as the same bytes; where the host layer was built. */
import { existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';

const LIBRARY = join(projectRoot, 'native', 'host', 'skerry-repeatable.so');

/** What such a builder gets as a descriptor of its own, for the caller to close; null where there is none. */
export async function openRepeatable(): Promise<FileHandle | null> {
  return existsSync(LIBRARY) ? await open(LIBRARY) : null;
}

/**
 * The variables with which a builder that has it as this descriptor gets the same random numbers, time and times of files in
 * each run. The library goes by its descriptor, since the loader ends a path at a space or colon.
 */
export const repeatableEnvironment = (fd: number): Readonly<Record<string, string>> => ({
  LD_PRELOAD: `/proc/self/fd/${fd}`,
});
