/** A Dockerfile of the user's own, built by the node. */
import type { Builder } from './builder.ts';

/** In the order in which they are looked for. */
export const CONTAINERFILES = ['Dockerfile', 'Containerfile'];

export const dockerfile: Builder = {
  name: 'dockerfile',
  makes: 'image',
  takes: ['network'],
  looksFor: CONTAINERFILES.join(' or '),
  async detect(folder) {
    const file = await folder.first(CONTAINERFILES);
    if (file === undefined) return null;
    return { why: `${file} says how`, file, make: async () => ({ kind: 'dockerfile', file: folder.at(file) }) };
  },
};
