import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bundleChild, run } from '../../support/powercut/run-child.ts';

const diskFull = suite('disk full');

interface Outcome {
  seen: Record<string, number>;
  problems: string[];
  documents: number;
}

/** Runs the child over a small disk that only it sees: its mount goes when it ends, however it ends. */
async function onSmallDisk(limit: 'disk' | 'file-size'): Promise<Outcome> {
  const scratch = mkdtempSync(join(tmpdir(), 'skerry-full-'));
  try {
    const script = await bundleChild(scratch, 'disk-full-child');
    const disk = join(scratch, 'disk');
    mkdirSync(disk);
    const mount = 'mount -t tmpfs -o "size=$5,mode=700" tmpfs "$1" && exec "$2" "$3" "$1" "$4"';
    const size = limit === 'disk' ? '4m' : '64m';
    const parameters = [
      '-m',
      '--propagation',
      'private',
      'sh',
      '-c',
      mount,
      'sh',
      disk,
      process.execPath,
      script,
      limit,
      size,
    ];
    const end = await run('unshare', parameters);
    assert.is(end.code, 0, `${end.signal} ${end.stderr}`);
    assert.is(end.stderr, '', 'LMDB met the full disk itself');
    return JSON.parse(end.stdout);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const promises = {
  'a full disk is reported, loses nothing, and writing works again when there is room': 'disk',
  'so does a limit on the size of files': 'file-size',
} as const;

for (const [promise, limit] of Object.entries(promises)) {
  if (process.getuid?.() !== 0) {
    console.log(`skipped: ${promise}, since mounting a small disk needs root`);
    diskFull.skip(promise, () => {});
    continue;
  }
  diskFull(promise, async () => {
    const { seen, problems, documents } = await onSmallDisk(limit);
    console.log(`disk full (${limit}): ${JSON.stringify(seen)}, ${documents} documents kept`);
    assert.equal(problems, []);
    assert.ok(seen.STATE_DISK_FULL! >= 20 && seen.STORE_DISK_FULL! >= 20);
  });
}

diskFull.run();
