import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../errors/project-root.ts';
import { chooseMoments, cutThePower, fates, type PowerCuts } from '../../support/powercut/cut-the-power.ts';
import { DiskModel, type Lies } from '../../support/powercut/disk-model.ts';
import { findProblems } from '../../support/powercut/keyvalue-promises.ts';
import { chooseSeed, randomFrom } from '../../support/powercut/random.ts';
import { compileShim, type Operation, readRecording } from '../../support/powercut/recording.ts';
import { bundleChild, runChild } from '../../support/powercut/run-child.ts';
import { scratchInMemory } from '../../support/powercut/scratch.ts';

/** Moments at which the power is cut, beside each one of the making of the folder. */
const cuts = 80;

const scratch = mkdtempSync(join(tmpdir(), 'skerry-keyvalue-power-'));
const disks = scratchInMemory('skerry-keyvalue-power-');
const seed = chooseSeed('power cuts of the key-value storage');
const random = randomFrom(seed);

const shim = compileShim(join(projectRoot, 'test/support/powercut/shim.c'), scratch);
const powerCuts = suite('power cuts of the key-value storage');
if (shim === null) {
  console.log('skipped: the power cut tests, since this machine has no C compiler (cc)');
  powerCuts.skip('a power cut loses no acknowledged value', () => {});
  for (const folder of [scratch, disks]) rmSync(folder, { recursive: true, force: true });
} else {
  let recording: Operation[];
  const power = (): PowerCuts => ({ recording, disks, random, findProblems });

  powerCuts.before(async () => {
    const script = await bundleChild(scratch, 'keyvalue-child');
    const folder = join(scratch, 'keyvalue');
    const marks = join(scratch, 'promises');
    const end = await runChild(script, [folder, marks, '-', '0'], {
      LD_PRELOAD: shim,
      POWERCUT_ROOT: folder,
      POWERCUT_LOG: join(scratch, 'log'),
      POWERCUT_MARKS: marks,
      UV_USE_IO_URING: '0',
    });
    assert.is(end.code, 0, end.stderr);
    recording = readRecording(join(scratch, 'log'));
  });

  powerCuts('the record is whole: every change of the folder is by a call that the model knows', async () => {
    const model = new DiskModel();
    for (const operation of recording) model.add(operation);
    // LMDB's lock file is the one thing it writes through a mapping; its content means nothing after a crash.
    assert.equal(
      model.unseen.filter((what) => !/\block\.mdb$/.test(what)),
      [],
    );
    const copy = join(disks, 'whole');
    model.writeTo(copy, { survives: () => true, zeros: false });
    assert.equal(readFileSync(join(copy, 'data.mdb')), readFileSync(join(scratch, 'keyvalue', 'data.mdb')));
    rmSync(copy, { recursive: true, force: true });
  });

  powerCuts('a power cut at any moment loses no acknowledged value, and the quota stays exact', async () => {
    const opened = recording.findIndex(({ kind }) => kind === 'mark') + 20;
    const moments = chooseMoments(power(), opened, cuts).add(recording.length - 1);
    const problems = await cutThePower(power(), moments);
    console.log(
      `power cuts: ${moments.size} moments of ${recording.length}, ${Object.keys(fates(random)).length} fates each`,
    );
    assert.equal(problems, []);
  });

  // Controls: a disk that ignores just one kind of sync must be found out, or the test above proves nothing.
  const lies: Record<string, Lies> = {
    'the data pages': ({ kind }, path) => kind === 'sync' && path === 'data.mdb',
    'the root page': ({ kind }, path) => kind === 'write' && path === 'data.mdb',
    'the name of the data file': ({ kind }, path) => kind === 'sync' && path === '',
  };
  for (const [what, lie] of Object.entries(lies))
    powerCuts(`control: a disk that does not sync ${what} is noticed`, async () => {
      const moments = chooseMoments(power(), 0, 12).add(recording.length - 1);
      const problems = await cutThePower(power(), moments, lie);
      assert.ok(problems.length > 0, 'the loss was not noticed');
    });

  powerCuts.after(() => {
    rmSync(scratch, { recursive: true, force: true });
    rmSync(disks, { recursive: true, force: true });
  });
}

powerCuts.run();
