import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../errors/project-root.ts';
import { chooseMoments, cutThePower, fates, type PowerCuts } from '../../support/powercut/cut-the-power.ts';
import { findProblems } from '../../support/powercut/deployments.ts';
import { DiskModel, type Lies } from '../../support/powercut/disk-model.ts';
import { chooseSeed, randomFrom } from '../../support/powercut/random.ts';
import { compileShim, type Operation, readRecording } from '../../support/powercut/recording.ts';
import { bundleChild, runChild } from '../../support/powercut/run-child.ts';
import { scratchInMemory } from '../../support/powercut/scratch.ts';

const deployments = 24;
/** Moments at which the power is cut in one recording, beside each one of the making of the folder. */
const cuts = 60;

const scratch = mkdtempSync(join(tmpdir(), 'skerry-power-'));
const disks = scratchInMemory('skerry-power-');
const seed = chooseSeed('power cuts');
const random = randomFrom(seed);

const shim = compileShim(join(projectRoot, 'test/support/powercut/shim.c'), scratch);
const powerCuts = suite('power cuts');
if (shim === null) {
  console.log('skipped: the power cut tests, since this machine has no C compiler (cc)');
  powerCuts.skip('a power cut loses no acknowledged deploy', () => {});
  for (const folder of [scratch, disks]) rmSync(folder, { recursive: true, force: true });
} else {
  let recording: Operation[];
  const power = (): PowerCuts => ({ recording, disks, random, findProblems });

  powerCuts.before(async () => {
    const script = await bundleChild(scratch);
    const folder = join(scratch, 'data');
    const marks = join(scratch, 'promises');
    const end = await runChild(script, [folder, marks, String(deployments), '-', '0'], {
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
      model.unseen.filter((what) => !what.endsWith('/lock.mdb')),
      [],
    );
    // With nothing lost, the model holds what the process left, byte for byte.
    const copy = join(disks, 'whole');
    model.writeTo(copy, { survives: () => true, zeros: false });
    for (const file of ['state/data.mdb', 'node.key', 'version'])
      assert.equal(readFileSync(join(copy, file)), readFileSync(join(scratch, 'data', file)), file);
    rmSync(copy, { recursive: true, force: true });
  });

  powerCuts('a power cut at any moment loses no acknowledged deploy and leaves nothing half-made', async () => {
    const opened = recording.findIndex(({ kind }) => kind === 'mark') + 60;
    const moments = chooseMoments(power(), opened, cuts);
    const problems = await cutThePower(power(), moments);
    console.log(
      `power cuts: ${moments.size} moments of ${recording.length}, ${Object.keys(fates(random)).length} fates each`,
    );
    assert.equal(problems, []);
  });

  // Controls: a disk that ignores just one kind of sync must be found out, or the test above proves nothing.
  const lies: Record<string, Lies> = {
    "the state's data pages": ({ kind }, path) => kind === 'sync' && path === 'state/data.mdb',
    "the state's root page": ({ kind }, path) => kind === 'write' && path === 'state/data.mdb',
    'the name of the state file': ({ kind }, path) => kind === 'sync' && path === 'state',
    'the bytes of a blob': ({ kind }, path) => kind === 'sync' && path.startsWith('images/incoming/'),
    'the name of a blob': ({ kind }, path) => kind === 'sync' && /^images\/blobs\/sha256\/../.test(path),
    'the folder of a blob': ({ kind }, path) => kind === 'sync' && path === 'images/blobs/sha256',
    'the names in the data folder': ({ kind }, path) => kind === 'sync' && path === '',
    'the bytes of the key': ({ kind }, path) => kind === 'sync' && path === 'node.key.new',
  };
  for (const [what, lie] of Object.entries(lies))
    powerCuts(`control: a disk that does not sync ${what} is noticed`, async () => {
      const moments = chooseMoments(power(), 0, 12).add(recording.length - 1);
      const problems = await cutThePower(power(), moments, lie);
      assert.ok(problems.length > 0, 'the loss was not noticed');
    });

  powerCuts('a disk that fails once is reported; reading goes on, and writing too when the disk does', async () => {
    const script = await bundleChild(scratch, 'failing-child');
    const folder = join(scratch, 'failing');
    const end = await runChild(script, [folder], {
      LD_PRELOAD: shim,
      POWERCUT_ROOT: folder,
      POWERCUT_LOG: join(scratch, 'failing-log'),
      POWERCUT_FAIL: '7',
    });
    assert.is(end.code, 0, end.stderr);
    const { committed, turns, ...outcome } = JSON.parse(end.stdout);
    assert.ok(committed > 0 && turns > 0);
    assert.equal(outcome, {
      failure: 'STATE_WRITE_FAILED',
      whileFailed: committed,
      missing: 0,
      after: committed + 1,
      atLast: committed + 1,
    });
  });

  powerCuts.after(() => {
    rmSync(scratch, { recursive: true, force: true });
    rmSync(disks, { recursive: true, force: true });
  });
}

powerCuts.run();
