/** What builds keep for the next ones has a bound. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openImageBuilder } from '../../../daemon/hostd/open.ts';
import { whyNoImageBuilds } from '../../support/container-node.ts';
import { testUnless } from '../../support/test-unless.ts';

const MIB = 2 ** 20;
const DAY_MS = 24 * 3_600_000;
const bounds = { maxBytes: 100 * MIB, maxAgeMs: DAY_MS };

const caches = suite('the cache of builds');

testUnless(caches, await whyNoImageBuilds(), 'it goes when it is too much, or too old, and not before', async () => {
  const data = mkdtempSync(join(tmpdir(), 'skerry-cache-'));
  try {
    const builder = await openImageBuilder(data);
    const storage = join(data, 'builds', 'storage');
    const used = join(data, 'builds', 'used');
    const { uid } = statSync(storage);
    const fill = () => {
      mkdirSync(join(storage, 'overlay'), { recursive: true });
      writeFileSync(join(storage, 'overlay', 'step'), Buffer.alloc(2 * MIB, 1));
      writeFileSync(used, '');
    };
    fill();
    assert.is(await builder.prune(bounds), 0);
    assert.ok(existsSync(join(storage, 'overlay', 'step')));
    assert.ok((await builder.prune({ ...bounds, maxBytes: MIB })) >= 2 * MIB);
    assert.equal(readdirSync(storage), []);
    assert.is(statSync(storage).uid, uid, 'it is the builders’ still');
    fill();
    const then = (Date.now() - 2 * DAY_MS) / 1000;
    utimesSync(used, then, then);
    assert.ok((await builder.prune(bounds)) >= 2 * MIB);
    assert.is(await builder.prune(bounds), 0);
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});

caches.run();
