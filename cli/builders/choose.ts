/** Which builder a folder gets. */
import type { Builder, Detected } from './builder.ts';
import { dockerfile } from './dockerfile.ts';
import { builderErrors } from './errors.ts';
import { go } from './go.ts';
import { java } from './java.ts';
import { javascript } from './javascript.ts';
import { node } from './node.ts';
import { python } from './python.ts';
import { pythonImage } from './python-image.ts';
import { rust } from './rust.ts';
import { rustImage } from './rust-image.ts';
import type { SourceFolder } from './source-folder.ts';
import { staticSite } from './static.ts';

/** The first that finds what it looks for wins: functions before images, what says how before what is guessed. */
export const BUILDERS: readonly Builder[] = [
  ...[javascript, python, dockerfile, rust, rustImage, go, java, node, pythonImage, staticSite],
];

export interface Choice extends Detected {
  readonly builder: Builder;
  /** Names of others that could build it too. */
  readonly others: readonly string[];
}

/** @param wanted the name of a builder; `auto` for the best. Throws NO_MAIN, BUILDER_LACKS, UNREADABLE and SYNTAX. */
export async function chooseBuilder(folder: SourceFolder, wanted = 'auto'): Promise<Choice> {
  const found: { builder: Builder; detected: Detected }[] = [];
  for (const builder of BUILDERS) {
    if (wanted !== 'auto' && builder.name !== wanted) continue;
    const detected = await builder.detect(folder);
    if (detected !== null) found.push({ builder, detected });
    else if (wanted !== 'auto') throw builderErrors.BUILDER_LACKS(wanted, folder.path, builder.looksFor);
  }
  const best = found.find(({ detected }) => !detected.weak) ?? found[0];
  if (best === undefined) {
    throw builderErrors.NO_MAIN(folder.path, BUILDERS.map(({ looksFor }) => looksFor).join('; '));
  }
  const others = found.filter((each) => each !== best && !each.detected.weak).map(({ builder }) => builder.name);
  return { ...best.detected, builder: best.builder, others };
}

/** What is told before the build. */
export function choiceText({ builder, why, others }: Choice): string {
  const over =
    others.length === 0
      ? ''
      : `; it comes before ${others.join(', ')} (functions before images, a Dockerfile before what is guessed)`;
  return `Built by ${builder.name} as ${builder.makes === 'image' ? 'an image' : 'a component'}: ${why}${over}`;
}
