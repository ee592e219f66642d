/** Volumes on a small disk of their own: what fits, and who takes and removes them at the same moment. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Volumes } from '../../../daemon/hostd/volumes.ts';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { failure } from '../../support/failure.ts';
import { testUnless } from '../../support/test-unless.ts';

const MiB = 2 ** 20;
const missing = process.getuid!() !== 0 ? 'root' : existsSync('/sbin/mke2fs') ? null : '/sbin/mke2fs';
const volumes = suite('volumes');

const test = (what: string, work: (volumes: Volumes) => Promise<void>) =>
  testUnless(volumes, missing && `that needs ${missing}`, what, async () => {
    const disk = mkdtempSync(join(tmpdir(), 'skerry-volumes-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${64 * MiB}`, 'tmpfs', disk]);
    try {
      await work(await Volumes.open(join(disk, 'volumes')));
    } finally {
      execFileSync('umount', [disk]);
      rmSync(disk, { recursive: true });
    }
  });

const nobody = () => [];

test('a new one has to fit beside all that the others may come to hold; those that are there are taken as ever', async (all) => {
  const take = async (name: string, bytes: number | null) => (await all.take({ name, bytes })).close();
  await take('first', 40 * MiB);
  const error = await failure<SkerryError>(take('second', 40 * MiB));
  assert.is(error.code, 'VOLUME_NO_ROOM');
  assert.match(
    error.what,
    /no room for the volume second of 40MiB: \S+ of the disk are free, and \S+ of them are promised/,
  );
  assert.equal(
    (await all.list()).map(({ name }) => name),
    ['first'],
    'nothing of it is left',
  );
  assert.is(
    (await failure<SkerryError>(take('large', null))).code,
    'VOLUME_NO_ROOM',
    'nor does one of the usual size fit',
  );
  await take('second', 8 * MiB);
  await take('first', 40 * MiB);
  assert.is(await all.delete('first', nobody), true);
  await take('third', 40 * MiB);
});

test('one that is taken while it is removed is the old one, which stays, or a new one; never one that is gone', async (all) => {
  for (let round = 0; round < 20; round++) {
    let users: string[] = [];
    const taking = async () => {
      users = ['w'];
      return all.take({ name: 'data', bytes: 4 * MiB });
    };
    const removing = () => all.delete('data', () => users).catch((error: SkerryError) => error.code);
    const work = round % 2 === 0 ? [removing(), taking()] : [taking(), removing()];
    for (const each of await Promise.all(work)) {
      if (typeof each !== 'object') assert.ok([true, false, 'VOLUME_IN_USE'].includes(each), String(each));
      else {
        assert.is((await each.stat()).nlink, 1, 'its file has a name');
        await each.close();
      }
    }
  }
});

volumes.run();
