import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import { assertFailure, collect, spawnSkerry } from '../support/cli.ts';
import { fakeNodeSuite } from '../support/fake-node-suite.ts';

const test = fakeNodeSuite('output that cannot be written');

/** The device that is always full (full(4)). */
const FULL = '/dev/full';
const onFullDevice = existsSync(FULL) ? test : test.skip;
if (!existsSync(FULL)) console.log(`skipped: this system has no ${FULL}`);

/** A process of its own whose stdout is a disk without room. */
async function printsToFull(args: readonly string[]) {
  const full = openSync(FULL, 'w');
  try {
    const main = join(projectRoot, 'cli/main.ts');
    const env = { ...process.env, NODE_OPTIONS: '' };
    const argv = ['--import', 'tsx', main, ...args];
    return await collect(spawn(process.execPath, argv, { env, stdio: ['ignore', full, 'pipe'] }));
  } finally {
    closeSync(full);
  }
}

onFullDevice('every command that has no room for its output says so and exits 74', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads': () => ({ workloads: [] }),
    'GET /v1/export': () => ({ workloads: [] }),
    'GET /v1/workloads/x/invoke/': (_request, response) => void response.end('fine\n'),
    'GET /v1/workloads/x/invoke/teapot': (_request, response) => void response.writeHead(418).end('short and stout\n'),
    'GET /v1/workloads/x/invoke/long': (_request, response) => void response.end(Buffer.alloc(1 << 20)),
  });
  for (const args of [
    ['-v'],
    ['--help'],
    ['secret'],
    ['completion', 'bash'],
    ['ls', '--json'],
    ['export'],
    ['invoke', 'x'],
    ['invoke', 'x', '-i'],
    ['invoke', 'x', '/teapot'],
    ['invoke', 'x', '/long'],
  ]) {
    const result = await printsToFull([...args, ...(/^-|secret|comp/.test(args[0]!) ? [] : ['--data', node.data])]);
    assertFailure(result, 'OUTPUT_LOST', 74, /^the output could not be written: no space left on device;/);
  }
});

onFullDevice('a command that fails before it prints keeps its own failure', async () => {
  assertFailure(await printsToFull(['no-such-command']), 'USAGE', 2, /unknown command/);
});

test('a reader that went away before the first word is no failure', async () => {
  const child = spawnSkerry(['completion', 'bash']);
  child.stdout!.destroy();
  const { status, stderr } = await collect(child);
  assert.is(stderr, '');
  assert.is(status, 0);
});

test.run();
