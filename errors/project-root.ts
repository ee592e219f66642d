import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function isRoot(folder: string): boolean {
  const file = join(folder, 'package.json');
  return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).name === 'skerry';
}

function find(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!isRoot(folder)) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('the installation is incomplete: no package.json of skerry above this file');
    folder = parent;
  }
  return folder;
}

/** The folder of the installation: the same whether the code runs from its sources or from `dist/`. */
export const projectRoot: string = find();
