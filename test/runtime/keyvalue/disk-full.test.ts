import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bundleChild, run } from '../../support/powercut/run-child.ts';

const diskFull = suite('key-value storage on a full disk');
const promise = 'a full disk is reported, loses nothing, lets keys be deleted, and goes on when there is room';

if (process.getuid?.() === 0) {
  diskFull(promise, async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'skerry-keyvalue-full-'));
    try {
      const script = await bundleChild(scratch, 'keyvalue-full-child');
      const disk = join(scratch, 'disk');
      mkdirSync(disk);
      // The mount is the child's alone and goes when it ends, however it ends.
      const mount = 'mount -t tmpfs -o size=4m,mode=700 tmpfs "$1" && exec "$2" "$3" "$1"';
      const parameters = ['-m', '--propagation', 'private', 'sh', '-c', mount, 'sh', disk, process.execPath, script];
      const end = await run('unshare', parameters);
      assert.is(end.code, 0, `${end.signal} ${end.stderr}`);
      assert.is(end.stderr, '', 'LMDB met the full disk itself');
      const { full, problems } = JSON.parse(end.stdout);
      assert.equal(problems, []);
      assert.ok(full >= 10, `full ${full} times`);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  });
} else {
  console.log(`skipped: ${promise}, since mounting a small disk needs root`);
  diskFull.skip(promise, () => {});
}

diskFull.run();
