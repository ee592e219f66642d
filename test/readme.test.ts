import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../errors/project-root.ts';

const run = promisify(execFile);
const readme = suite('README');

interface Step {
  readonly command: string;
  /** What the output has to contain, from a comment `# → text`. */
  readonly expected: string | null;
}

/** The commands of the tour's `sh` blocks, in order. */
async function tour(): Promise<Step[]> {
  const text = await readFile(join(projectRoot, 'README.md'), 'utf8');
  const section = text.slice(text.indexOf('## A five-minute tour'), text.indexOf('## What a function looks like'));
  const blocks = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] as string);
  return blocks.flatMap((block) =>
    block
      .trim()
      .split('\n')
      .map((line) => {
        const [command = '', expected = null] = line.split(' # → ');
        return { command, expected };
      }),
  );
}

readme('the five-minute tour does what it says, typed as it is written, after npm start', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'skerry-tour-'));
  const node = spawn('npm', ['start', '--', '--data', folder, '--listen', '127.0.0.1:0', '--registry', '127.0.0.1:0'], {
    cwd: projectRoot,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise((resolve) => node.once('exit', resolve));
  let output = '';
  try {
    const url = await new Promise<string>((resolve, reject) => {
      const read = (data: Buffer) => {
        output += data.toString();
        const found = /hello is deployed: curl (http:\/\/[\d.:]+)\/hello/.exec(output);
        if (found) resolve(found[1] as string);
      };
      node.stdout.on('data', read);
      node.stderr.on('data', read);
      node.once('exit', () => reject(new Error(`npm start ended early:\n${output}`)));
    });
    const steps = await tour();
    assert.ok(steps.length > 15, 'the tour was found');
    for (const { command, expected } of steps) {
      const typed = command.replaceAll('http://127.0.0.1:8080', url);
      const done = await run('bash', ['-c', typed], {
        cwd: projectRoot,
        env: { ...process.env, SKERRY_DATA: folder },
      });
      if (expected !== null) assert.ok(done.stdout.includes(expected), `${command}\nprinted:\n${done.stdout}`);
    }
  } finally {
    node.kill('SIGTERM');
    await ended;
    await rm(folder, { recursive: true, force: true });
  }
});

readme.run();
