import { findProblems } from '../../support/powercut/keyvalue-promises.ts';
import { powerCutSuite } from '../../support/powercut/suite.ts';

powerCutSuite({
  name: 'power cuts of the key-value storage',
  prefix: 'skerry-keyvalue-power-',
  promise: 'a power cut at any moment loses no acknowledged value, and the quota stays exact',
  skipped: 'a power cut loses no acknowledged value',
  child: 'keyvalue-child',
  parameters: ['-', '0'],
  // LMDB's lock file is the one thing it writes through a mapping; its content means nothing after a crash.
  unseen: (what) => /\block\.mdb$/.test(what),
  files: ['data.mdb'],
  opening: 20,
  cuts: 80,
  atTheEnd: true,
  findProblems,
  lies: {
    'the data pages': ({ kind }, path) => kind === 'sync' && path === 'data.mdb',
    'the root page': ({ kind }, path) => kind === 'write' && path === 'data.mdb',
    'the name of the data file': ({ kind }, path) => kind === 'sync' && path === '',
  },
});
