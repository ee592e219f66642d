import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { findProblems } from '../../support/powercut/deployments.ts';
import { bundleChild, runChild } from '../../support/powercut/run-child.ts';
import { type PowerCutScene, powerCutSuite } from '../../support/powercut/suite.ts';

const deployments = 24;

function failingDisk({ tests, scratch, shim }: PowerCutScene): void {
  tests('a disk that fails once is reported; reading goes on, and writing too when the disk does', async () => {
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
}

powerCutSuite(
  {
    name: 'power cuts',
    prefix: 'skerry-power-',
    promise: 'a power cut at any moment loses no acknowledged deploy and leaves nothing half-made',
    skipped: 'a power cut loses no acknowledged deploy',
    child: 'child',
    parameters: [String(deployments), '-', '0'],
    // LMDB's lock file is the one thing it writes through a mapping; its content means nothing after a crash.
    unseen: (what) => what.endsWith('/lock.mdb'),
    files: ['state/data.mdb', 'node.key', 'version'],
    opening: 60,
    cuts: 60,
    atTheEnd: false,
    findProblems,
    lies: {
      "the state's data pages": ({ kind }, path) => kind === 'sync' && path === 'state/data.mdb',
      "the state's root page": ({ kind }, path) => kind === 'write' && path === 'state/data.mdb',
      'the name of the state file': ({ kind }, path) => kind === 'sync' && path === 'state',
      'the bytes of a blob': ({ kind }, path) => kind === 'sync' && path.startsWith('images/incoming/'),
      'the name of a blob': ({ kind }, path) => kind === 'sync' && /^images\/blobs\/sha256\/../.test(path),
      'the folder of a blob': ({ kind }, path) => kind === 'sync' && path === 'images/blobs/sha256',
      'the names in the data folder': ({ kind }, path) => kind === 'sync' && path === '',
      'the bytes of the key': ({ kind }, path) => kind === 'sync' && path === 'node.key.new',
    },
  },
  failingDisk,
);
