/** Which builder a folder gets. */
import type { BuildSettings } from '../../runtime/workload/build-settings.ts';
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

/** Throws NO_MAIN, BUILDER_LACKS, BUILD_SETTING, UNREADABLE and SYNTAX. */
export async function chooseBuilder(folder: SourceFolder, settings: BuildSettings = {}): Promise<Choice> {
  const { builder: wanted = 'auto' } = settings;
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
  checkTaken(best.builder, settings);
  const others = found.filter((each) => each !== best && !each.detected.weak).map(({ builder }) => builder.name);
  return { ...best.detected, builder: best.builder, others };
}

/** What would be left aside without a word is refused. */
function checkTaken({ name, takes = [] }: Builder, { base, network = false }: BuildSettings): void {
  const takers = (setting: 'base' | 'network') =>
    BUILDERS.filter((builder) => builder.takes?.includes(setting)).map((builder) => builder.name);
  if (base !== undefined && !takes.includes('base'))
    throw builderErrors.BUILD_SETTING(name, 'base', 'begins from no image that could be said', takers('base'));
  if (network && !takes.includes('network'))
    throw builderErrors.BUILD_SETTING(name, 'network', 'has no steps that could use the network', takers('network'));
}

/** What is told before the build. */
export function choiceText({ builder, why, others }: Choice): string {
  const over =
    others.length === 0
      ? ''
      : `; it comes before ${others.join(', ')} (functions before images, a Dockerfile before what is guessed)`;
  return `Built by ${builder.name} as ${builder.makes === 'image' ? 'an image' : 'a component'}: ${why}${over}`;
}
