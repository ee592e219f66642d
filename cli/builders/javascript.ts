/** A function in JavaScript or TypeScript: bundled here, built by the node. */
import type { Builder } from './builder.ts';
import { type SourceFolder, tableOf } from './source-folder.ts';

const MAINS = ['index.ts', 'index.js', 'main.ts', 'main.js'];
const SCRIPT = /\.[cm]?[jt]sx?$/;
/** A default export, or a listener for `fetch`; the bundler looks closer. */
const HANDLER = /\bexport\s+default\b|\bas\s+default\b|\baddEventListener\s*\(\s*['"`]fetch\b/;

export const javascript: Builder = {
  name: 'javascript',
  makes: 'component',
  looksFor: MAINS.join(', '),
  async detect(folder) {
    const mains = await candidates(folder);
    for (const file of mains) {
      if (!HANDLER.test((await folder.text(file)) ?? '')) continue;
      return { why: `${file} has a handler`, file, make: async () => ({ kind: 'javascript', file: folder.at(file) }) };
    }
    const [first] = mains;
    if (first === undefined) return null;
    const why = `${first} is there, though without a handler that shows`;
    return { why, weak: true, file: first, make: async () => ({ kind: 'javascript', file: folder.at(first) }) };
  },
};

/** Files that are there: by their names, then what package.json says. */
async function candidates(folder: SourceFolder): Promise<string[]> {
  const { main } = (await folder.table('package.json')) ?? tableOf(null);
  const named = typeof main === 'string' && SCRIPT.test(main) && !main.split('/').includes('..') ? [main] : [];
  const found: string[] = [];
  for (const file of [...MAINS, ...named]) if (await folder.has(file)) found.push(file);
  return found;
}
