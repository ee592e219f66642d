import { appendFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findProblems, type Step } from '../../support/powercut/deployments.ts';
import { bundleChild, runChild } from '../../support/powercut/run-child.ts';
import { scratchInMemory } from '../../support/powercut/scratch.ts';
import { chooseSeed, randomFrom } from '../../support/random.ts';

const steps: Step[] = [
  'opened',
  'blob:created',
  'blob:written',
  'blob:synced',
  'blob:renamed',
  'blob:folder-synced',
  'blob:deleted',
  'state:before-commit',
  'state:writing',
  'state:committed',
  'state:acknowledged',
  'acknowledged',
  'removed',
];
const killsPerStep = 24;
/** Each has folders of its own, so that two cores of a machine have work. */
const lanes = 2;
/** Then a lane begins with a new folder, so that the making of one is among what is killed. */
const killsPerFolder = 26;

test('a node killed at any step of a deploy keeps every acknowledged deploy, and nothing half-made', async () => {
  const random = randomFrom(chooseSeed('kills'));
  const scratch = scratchInMemory('skerry-kill-');
  try {
    const script = await bundleChild(scratch);
    const plan = steps.flatMap((step) =>
      Array.from({ length: killsPerStep }, () => {
        const passes = step === 'opened' ? 0 : Math.floor(random() * 3);
        return { step, passes, order: random() };
      }),
    );
    plan.sort((a, b) => a.order - b.order);
    const kills = new Map<Step, number>();
    const lane = async (number: number) => {
      for (const [index, { step, passes }] of plan.entries()) {
        if (index % lanes !== number) continue;
        const history = `${number}-${Math.floor(index / lanes / killsPerFolder)}`;
        const folder = join(scratch, `data-${history}`);
        const promises = join(scratch, `promises-${history}`);
        const end = await runChild(script, [folder, promises, '40', step, String(passes)]);
        assert.is(end.signal, 'SIGKILL', `killed at ${step} (pass ${passes}): ${end.code} ${end.stderr}`);
        kills.set(step, (kills.get(step) ?? 0) + 1);
        const lines = readFileSync(promises, 'utf8').trim().split('\n');
        const acknowledge = (promise: string) => appendFileSync(promises, `${promise}\n`);
        assert.equal(
          await findProblems(folder, lines, acknowledge),
          [],
          `after kill ${index}, at ${step} (pass ${passes})`,
        );
      }
    };
    await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
    const total = [...kills.values()].reduce((sum, count) => sum + count, 0);
    console.log(`kills: ${total} (${[...kills].map(([step, count]) => `${step} ${count}`).join(', ')})`);
    assert.is(kills.size, steps.length);
    assert.ok(total >= 300);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

test.run();
