import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Writes these files, by their paths in the folder, and returns the folder. What else is in it stays. */
export function writeFiles(folder: string, contents: Readonly<Record<string, string | Buffer>>): string {
  for (const [path, content] of Object.entries(contents)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}
