/** What every durable folder is held to when the power fails: recorded in one run, cut at many moments of it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../errors/project-root.ts';
import { chooseSeed, randomFrom } from '../random.ts';
import { chooseMoments, cutThePower, fates, type PowerCuts } from './cut-the-power.ts';
import { DiskModel, type Lies } from './disk-model.ts';
import { compileShim, type Operation, readRecording } from './recording.ts';
import { bundleChild, runChild } from './run-child.ts';
import { scratchInMemory } from './scratch.ts';

const CONTROL_ROUNDS = 8;

export interface PowerCutPlan {
  readonly name: string;
  /** Of the folders on the way. */
  readonly prefix: string;
  /** The promise, as the test says it. */
  readonly promise: string;
  /** The same for a machine that cannot be tested on. */
  readonly skipped: string;
  /** The program that is recorded, in this folder, and its arguments behind those for the folder and the marks. */
  readonly child: string;
  readonly parameters: readonly string[];
  /** Whether the model may have missed how this file was written. */
  readonly unseen: (what: string) => boolean;
  /** What the model must hold byte for byte when nothing is lost, within the folder. */
  readonly files: readonly string[];
  /** Operations after the first mark at each of which the power is cut, and how many moments beside those. */
  readonly opening: number;
  readonly cuts: number;
  /** The power is cut behind the last operation too. */
  readonly atTheEnd: boolean;
  readonly findProblems: PowerCuts['findProblems'];
  /** Kinds of sync that a disk ignores, each of which must be found out, or the test above proves nothing. */
  readonly lies: Readonly<Record<string, Lies>>;
}

export interface PowerCutScene {
  readonly tests: ReturnType<typeof suite>;
  readonly scratch: string;
  readonly shim: string;
}

/** Adds the tests of a plan, and those of `more`; runs them. */
export function powerCutSuite(plan: PowerCutPlan, more: (scene: PowerCutScene) => void = () => {}): void {
  const scratch = mkdtempSync(join(tmpdir(), plan.prefix));
  const disks = scratchInMemory(plan.prefix);
  const random = randomFrom(chooseSeed(plan.name));
  const clean = () => {
    for (const folder of [scratch, disks]) rmSync(folder, { recursive: true, force: true });
  };
  const shim = compileShim(join(projectRoot, 'test/support/powercut/shim.c'), scratch);
  const tests = suite(plan.name);
  if (shim === null) {
    console.log('skipped: the power cut tests, since this machine has no C compiler (cc)');
    tests.skip(plan.skipped, () => {});
    clean();
    return tests.run();
  }
  const folder = join(scratch, 'data');
  let recording: Operation[];
  const power = (): PowerCuts => ({ recording, disks, random, findProblems: plan.findProblems });

  tests.before(async () => {
    const script = await bundleChild(scratch, plan.child);
    const marks = join(scratch, 'promises');
    const end = await runChild(script, [folder, marks, ...plan.parameters], {
      LD_PRELOAD: shim,
      POWERCUT_ROOT: folder,
      POWERCUT_LOG: join(scratch, 'log'),
      POWERCUT_MARKS: marks,
      UV_USE_IO_URING: '0',
    });
    assert.is(end.code, 0, end.stderr);
    recording = readRecording(join(scratch, 'log'));
  });

  tests('the record is whole: every change of the folder is by a call that the model knows', async () => {
    const model = new DiskModel();
    for (const operation of recording) model.add(operation);
    assert.equal(
      model.unseen.filter((what) => !plan.unseen(what)),
      [],
    );
    // With nothing lost, the model holds what the process left, byte for byte.
    const copy = join(disks, 'whole');
    model.writeTo(copy, { survives: () => true, zeros: false });
    for (const file of plan.files) assert.equal(readFileSync(join(copy, file)), readFileSync(join(folder, file)), file);
    rmSync(copy, { recursive: true, force: true });
  });

  tests(plan.promise, async () => {
    const opened = recording.findIndex(({ kind }) => kind === 'mark') + plan.opening;
    const moments = chooseMoments(power(), opened, plan.cuts);
    if (plan.atTheEnd) moments.add(recording.length - 1);
    const problems = await cutThePower(power(), moments);
    console.log(
      `power cuts: ${moments.size} moments of ${recording.length}, ${Object.keys(fates(random)).length} fates each`,
    );
    assert.equal(problems, []);
  });

  for (const [what, lie] of Object.entries(plan.lies))
    tests(`control: a disk that does not sync ${what} is noticed`, async () => {
      // One round of chosen moments may happen to miss what is lost: one in some dozens does.
      let noticed = false;
      for (let round = 0; round < CONTROL_ROUNDS && !noticed; round++) {
        const moments = chooseMoments(power(), 0, 12).add(recording.length - 1);
        noticed = (await cutThePower(power(), moments, lie)).length > 0;
      }
      assert.ok(noticed, 'the loss was not noticed');
    });

  more({ tests, scratch, shim });
  tests.after(clean);
  tests.run();
}
