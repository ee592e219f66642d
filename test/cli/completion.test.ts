import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import { collect, skerry } from '../support/cli.ts';
import { type FakeNode, startFakeNode, workloadOf } from '../support/fake-node.ts';

const has = (shell: string) => spawnSync(shell, ['-c', 'true']).status === 0;

interface Scene {
  folder: string;
  node: FakeNode;
  /** Runs a script in a shell that finds this command as `skerry`; gives its lines. */
  shell(name: string, script: string, args?: readonly string[]): Promise<string[]>;
}

const test = suite<Scene>('completion');

test.before(async (scene) => {
  scene.folder = mkdtempSync(join(tmpdir(), 'skerry-completion-'));
  scene.node = await startFakeNode({
    'GET /v1/workloads': () => ({ workloads: [workloadOf('hello'), workloadOf('help-desk'), workloadOf('shop')] }),
  });
  const command = join(scene.folder, 'skerry');
  const loader = join(projectRoot, 'node_modules/tsx/dist/loader.mjs');
  writeFileSync(
    command,
    `#!/bin/sh\nexec '${process.execPath}' --import '${loader}' '${projectRoot}/cli/main.ts' "$@"\n`,
  );
  chmodSync(command, 0o755);
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout, status } = await skerry(['completion', shell]);
    assert.is(status, 0);
    writeFileSync(join(scene.folder, `completion.${shell}`), stdout);
  }
  writeFileSync(join(scene.folder, 'file.ts'), '');
  scene.shell = async (name, script, args = []) => {
    const child = spawn(name, [...args, '-c', script], {
      cwd: scene.folder,
      env: {
        PATH: `${scene.folder}${delimiter}${process.env.PATH}`,
        HOME: scene.folder,
        TERM: 'dumb',
        SKERRY_DATA: scene.node.data,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = await collect(child);
    assert.is(stderr, '', `${name}: ${script}`);
    return stdout.split('\n').filter((line) => line !== '');
  };
});
test.after(async ({ node, folder }) => {
  await node.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What bash offers for the last of the words. */
function bash({ shell }: Scene, ...words: string[]): Promise<string[]> {
  const quoted = words.map((word) => `'${word}'`).join(' ');
  return shell(
    'bash',
    `compopt() { :; }
     source completion.bash
     COMP_WORDS=(skerry ${quoted}); COMP_CWORD=${words.length}; _skerry
     printf '%s\\n' "\${COMPREPLY[@]}"`,
    ['--norc', '--noprofile'],
  );
}

test('bash: the commands', async (scene) => {
  assert.equal(await bash(scene, 'dep'), ['deploy']);
  const all = await bash(scene, '');
  for (const name of ['up', 'deploy', 'ls', 'completion']) assert.ok(all.includes(name), name);
  assert.not.ok(all.includes('complete-names'));
});

test('bash: the flags of the command, also behind others', async (scene) => {
  assert.equal(await bash(scene, 'deploy', 'x.ts', '--mem'), ['--memory']);
  assert.equal(await bash(scene, 'deploy', '--memory', '64MiB', '--is'), ['--isolation']);
  assert.equal(await bash(scene, 'logs', '--fo'), ['--follow']);
  assert.equal(await bash(scene, 'ls', '--mem'), []);
  assert.equal(await bash(scene, '--data', '/x', 'up', '--li'), ['--listen']);
});

test('bash: the values of a flag', async (scene) => {
  assert.equal(await bash(scene, 'deploy', 'x.ts', '--isolation', ''), ['auto', 'wasm', 'container', 'vm']);
  assert.equal(await bash(scene, 'up', '--engine', 'w'), ['wasmtime']);
  assert.equal(await bash(scene, 'completion', 'z'), ['zsh']);
});

test('bash: the commands below a command, and their flags', async (scene) => {
  assert.equal(await bash(scene, 'secret', ''), ['set', 'ls', 'rm']);
  assert.equal(await bash(scene, 'secret', 'rm', '--f'), ['--force']);
});

test('bash: the names of the workloads of the node, where a name belongs', async (scene) => {
  assert.equal(await bash(scene, 'inspect', 'hel'), ['hello', 'help-desk']);
  assert.equal(await bash(scene, 'rm', 'hello', 's'), ['shop']);
  assert.equal(await bash(scene, 'logs', '--tail', '5', 's'), ['shop']);
  assert.equal(await bash(scene, 'traffic', 's'), ['shop']);
  assert.equal(await bash(scene, 'inspect', 'hello', 's'), []);
});

test('bash: the node that the line names is the one that is asked', async (scene) => {
  assert.equal(await bash(scene, '--data', '/nowhere', 'inspect', ''), []);
  assert.equal(await bash(scene, '--data', scene.node.data, 'inspect', 'sh'), ['shop']);
});

test('bash: a file is left to the shell itself', async (scene) => {
  assert.equal(await bash(scene, 'deploy', 'fi'), []);
  assert.equal(await scene.shell('bash', 'source completion.bash; complete -p skerry'), [
    'complete -o default -F _skerry skerry',
  ]);
});

test('names are asked for quietly: no node, no names, no error', async () => {
  const result = await skerry(['complete-names'], { data: '/nowhere' });
  assert.equal(result, { status: 0, stdout: '', stderr: '' });
});

if (has('fish')) {
  const fish = ({ shell }: Scene, line: string) => {
    return shell('fish', `source completion.fish; complete -C '${line}' | string split -f1 \\t`, ['--no-config']);
  };
  test('fish: commands, flags, values, names and files', async (scene) => {
    assert.equal(await fish(scene, 'skerry dep'), ['deploy']);
    assert.equal(await fish(scene, 'skerry deploy x.ts --mem'), ['--memory']);
    assert.equal(await fish(scene, 'skerry deploy x.ts --isolation w'), ['wasm']);
    assert.equal(await fish(scene, 'skerry inspect hel'), ['hello', 'help-desk']);
    assert.equal(await fish(scene, 'skerry deploy fil'), ['file.ts']);
    assert.equal(await fish(scene, 'skerry completion z'), ['zsh']);
  });
} else test.skip('fish: commands, flags, values, names and files (skipped: fish is not installed)');

if (has('zsh')) {
  test('zsh: the script is accepted and defines the completion of skerry', async (scene) => {
    const script = 'autoload -U compinit && compinit -u -D && source completion.zsh && echo $_comps[skerry]';
    assert.equal(await scene.shell('zsh', script, ['-f']), ['_skerry']);
  });
  test('zsh: commands and names come out at the prompt', async (scene) => {
    // Completion runs in zsh's line editor only, so that one is driven through a terminal of its own.
    const script = `
      zmodload zsh/zpty
      zpty z zsh -f -i
      zpty -w z 'PS1=READY; autoload -U compinit && compinit -u -D && source completion.zsh; setopt no_beep; echo set-"up"'
      zpty -r z seen '*set-up*READY*'
      zpty -w -n z $'skerry dep\\t'
      zpty -r z seen '*deploy *'
      zpty -w -n z $'\\025skerry inspect sh\\t'
      zpty -r z seen '*inspect shop *'
      echo completed
      zpty -d z`;
    assert.equal(await scene.shell('zsh', script, ['-f']), ['completed']);
  });
} else test.skip('zsh: the script is accepted and completes (skipped: zsh is not installed)');

test.run();
