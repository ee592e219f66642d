import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KeyValueStep } from '../../../runtime/keyvalue/store.ts';
import { findProblems } from '../../support/powercut/keyvalue-promises.ts';
import { bundleChild, runChild } from '../../support/powercut/run-child.ts';
import { scratchInMemory } from '../../support/powercut/scratch.ts';
import { chooseSeed, randomFrom } from '../../support/random.ts';

const steps: KeyValueStep[] = ['keyvalue:before-commit', 'keyvalue:committed', 'keyvalue:acknowledged'];
const killsPerStep = 20;

test('a node killed at any step of a write keeps every acknowledged one, whole, and its quota exact', async () => {
  const random = randomFrom(chooseSeed('key-value kills'));
  const scratch = scratchInMemory('skerry-keyvalue-kill-');
  try {
    const script = await bundleChild(scratch, 'keyvalue-child');
    let kills = 0;
    for (const step of steps) {
      for (let n = 0; n < killsPerStep; n++) {
        const folder = join(scratch, `${step.slice(9)}-${n}`);
        const promises = join(scratch, 'promises');
        rmSync(promises, { force: true });
        const passes = Math.floor(random() * 25);
        const end = await runChild(script, [folder, promises, step, String(passes)]);
        assert.is(end.signal, 'SIGKILL', `killed at ${step} (pass ${passes}): ${end.code} ${end.stderr}`);
        kills++;
        const lines = existsSync(promises) ? readFileSync(promises, 'utf8').split('\n').slice(0, -1) : [];
        assert.equal(await findProblems(folder, lines), [], `after a kill at ${step} (pass ${passes})`);
        rmSync(folder, { recursive: true, force: true });
      }
    }
    console.log(`kills: ${kills}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

test.run();
