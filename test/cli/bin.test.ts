import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import { assertFailure, collect } from '../support/cli.ts';

const test = suite<{ root: string; skerry(...args: string[]): ReturnType<typeof collect> }>('bin/skerry.js');

test.before.each((scene) => {
  scene.root = mkdtempSync(join(tmpdir(), 'skerry-bin-'));
  cpSync(join(projectRoot, 'bin'), join(scene.root, 'bin'), { recursive: true });
  writeFileSync(join(scene.root, 'package.json'), '{"type":"module"}');
  scene.skerry = (...args) => {
    const bin = join(scene.root, 'bin/skerry.js');
    return collect(spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }));
  };
});
test.after.each(({ root }) => rmSync(root, { recursive: true, force: true }));

/** In the place of what is built: says which part it is and what it was given. */
function install(root: string): void {
  mkdirSync(join(root, 'dist'));
  for (const part of ['cli', 'daemon']) {
    const text = `console.log(JSON.stringify(['${part}', ...process.argv.slice(2)]));`;
    writeFileSync(join(root, 'dist', `${part}.js`), text);
  }
}

test('before anything is built it says in one line what to run', async ({ skerry }) => {
  assertFailure(await skerry('ls'), 'NOT_SET_UP', 1, /npm start.*scripts\/setup\.mjs/);
  assertFailure(await skerry('up'), 'NOT_SET_UP', 1, /npm start/);
});

test('up is the node, in this process, as is what doctor finds out without one; everything else is the command line', async ({
  root,
  skerry,
}) => {
  install(root);
  const part = async (...args: string[]) => JSON.parse((await skerry(...args)).stdout);
  assert.equal(await part('up', '--listen', 'x:1'), ['daemon', 'up', '--listen', 'x:1']);
  assert.equal(await part('--data', '/d', 'up', '--listen', 'x:1'), [
    'daemon',
    'up',
    '--data',
    '/d',
    '--listen',
    'x:1',
  ]);
  assert.equal(await part('examine', '--data', '/d'), ['daemon', 'examine', '--data', '/d']);
  assert.equal(await part('up', '--help'), ['cli', 'up', '--help']);
  assert.equal(await part('--data', 'up', 'ls'), ['cli', '--data', 'up', 'ls']);
  assert.equal(await part('deploy', 'up'), ['cli', 'deploy', 'up']);
  assert.equal(await part('-v'), ['cli', '-v']);
  assert.equal(await part(), ['cli']);
});

test.run();
