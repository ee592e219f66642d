/** The log of conmon as it grows, and as it is begun anew. */
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OutputFollower } from '../../../daemon/hostd/output-follower.ts';

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const line = (text: string) => `2026-01-01T00:00:00.000000000+00:00 stdout F ${text}\n`;

test('what is written into a file that took the place of another comes as it is written, however often that is', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-follower-'));
  const log = join(folder, 'log');
  writeFileSync(log, line('first'));
  const seen: string[] = [];
  let tell = () => {};
  const follower = new OutputFollower(log, join(folder, 'log.position'), ({ data }) => {
    seen.push(data.toString().trim());
    tell();
  });
  const comes = async (text: string) => {
    for (const tries = { left: 100 }; !seen.includes(text); tries.left--) {
      assert.ok(tries.left > 0, `${text} comes`);
      await Promise.race([
        pause(100),
        new Promise<void>((resolve) => {
          tell = resolve;
        }),
      ]);
    }
  };
  try {
    await comes('first');
    const expected = ['first'];
    for (let round = 0; round < 5; round++) {
      // As conmon does when the file is too large.
      writeFileSync(`${log}.new`, '');
      renameSync(`${log}.new`, log);
      for (const text of [`begun anew ${round}`, `and later ${round}`]) {
        appendFileSync(log, line(text));
        await comes(text);
        expected.push(text);
        // What the system tells of the file that was replaced is over then.
        await pause(50);
      }
    }
    assert.equal(seen, expected);
    appendFileSync(log, line('at its end'));
    await follower.close();
    assert.is(seen.at(-1), 'at its end');
  } finally {
    await follower.stop();
    rmSync(folder, { recursive: true });
  }
});

test.run();
