/** Cuts the power at moments of a recording, with each kind of what a disk may then hold, and looks at what is left. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DiskModel, type Fate, type Lies } from './disk-model.ts';
import type { Operation } from './recording.ts';

export interface PowerCuts {
  readonly recording: readonly Operation[];
  /** A folder in memory for the disks that are left. */
  readonly disks: string;
  readonly random: () => number;
  /** What does not hold in a folder after so many lines were promised. */
  readonly findProblems: (folder: string, promises: string[]) => Promise<string[]>;
}

/** What becomes of that which was not synced, by what that is like. */
export function fates(random: () => number): Record<string, () => Fate> {
  return {
    'nothing that was not synced is there': () => ({ survives: () => false, zeros: false }),
    'names are there, their bytes are not': () => ({ survives: (what) => what === 'name', zeros: random() < 0.5 }),
    'all of it is there: the process was killed between two calls': () => ({ survives: () => true, zeros: false }),
    'some of it is there, torn and in any order': () => {
      const share = random();
      return { survives: () => random() < share, zeros: random() < 0.5 };
    },
  };
}

/** Plays the record up to each of the moments, and returns what was wrong at them. */
export async function cutThePower(cuts: PowerCuts, moments: ReadonlySet<number>, lies?: Lies): Promise<string[]> {
  const model = new DiskModel(lies);
  const found: string[] = [];
  for (const [index, operation] of cuts.recording.entries()) {
    model.add(operation);
    if (!moments.has(index)) continue;
    for (const [name, makeFate] of Object.entries(fates(cuts.random))) {
      const disk = join(cuts.disks, 'disk');
      mkdirSync(disk, { mode: 0o700 });
      model.writeTo(disk, makeFate());
      const promises = model.marks.join('').split('\n').filter(Boolean);
      for (const problem of await cuts.findProblems(disk, promises))
        found.push(`cut after operation ${index} (${operation.kind}), ${name}: ${problem}`);
      rmSync(disk, { recursive: true, force: true });
    }
  }
  return found;
}

/** The first so many moments of a recording, and so many others by chance. */
export function chooseMoments(
  { recording, random }: Pick<PowerCuts, 'recording' | 'random'>,
  first: number,
  count: number,
): Set<number> {
  const moments = new Set(Array.from({ length: Math.min(first, recording.length) }, (_, index) => index));
  while (moments.size < Math.min(first + count, recording.length)) moments.add(Math.floor(random() * recording.length));
  return moments;
}
