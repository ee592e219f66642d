/** Builders that run a program and keep its state: how the same source comes out as the same bytes; where the host layer was built. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';

const LIBRARY = join(projectRoot, 'native', 'host', 'skerry-repeatable.so');

/** The variables with which such a builder gets the same random numbers, time and times of files in each run. */
export const repeatableEnvironment: Readonly<Record<string, string>> = existsSync(LIBRARY)
  ? { LD_PRELOAD: LIBRARY }
  : {};
