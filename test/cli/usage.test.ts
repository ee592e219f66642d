import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createProgram } from '../../cli/program.ts';
import { processTerminal } from '../../cli/terminal.ts';
import { projectRoot } from '../../errors/project-root.ts';
import { assertFailure, collect, skerry, spawnSkerry } from '../support/cli.ts';

const commands = createProgram(processTerminal()).commands.filter((command) => command.name() !== 'complete-names');

test('offers the commands of the contract that work, and no others', () => {
  const promised =
    'up deploy apply export ls inspect logs rm scale revisions rollback traffic invoke secret token images image pull push build run ps stop exec volume sign policy top doctor completion'.split(
      ' ',
    );
  const offered = commands.map((command) => command.name());
  assert.equal([...offered].sort(), [...promised].sort());
});

test('the help of every command has a line of description and an example that calls it', async () => {
  for (const command of commands) {
    const { status, stdout, stderr } = await skerry([command.name(), '--help']);
    assert.is(status, 0);
    assert.is(stderr, '');
    assert.match(command.description(), /^[A-Z][^\n]{10,80}\.$/);
    assert.ok(stdout.includes(command.description()), command.name());
    const example = stdout.split('Examples:\n')[1] ?? '';
    assert.match(example, new RegExp(`skerry ${command.name()}\\b`), `an example of ${command.name()}`);
  }
});

test('so has that of every command below another', async () => {
  for (const command of commands) {
    for (const inner of command.commands) {
      const name = `${command.name()} ${inner.name()}`;
      const { stdout } = await skerry([command.name(), inner.name(), '--help']);
      assert.match(inner.description(), /^[A-Z][^\n]{10,100}\.$/);
      assert.match(stdout.split('Examples:\n')[1] ?? '', new RegExp(`skerry ${name}\\b`), `an example of ${name}`);
    }
  }
  const bare = await skerry(['secret']);
  assert.match(bare.stdout, /skerry secret \[options\] \[command\]/);
  assert.is(bare.status, 0);
});

test('every flag of every command is explained', () => {
  for (const command of commands) {
    for (const option of command.options) {
      assert.match(option.description, /^.{10,}\.?$/, `${command.name()} ${option.flags}`);
    }
  }
});

test('the flags with a default say it in the help, with its unit', async () => {
  const { stdout } = await skerry(['deploy', '--help']);
  const text = stdout.replaceAll(/\s+/g, ' ');
  for (const said of ['64MiB', 'Default 10s', 'Default 30s', 'Default 0.5', 'Default 64', 'Default 5', 'Default 60s']) {
    assert.ok(text.includes(said), said);
  }
});

test('`skerry`, `skerry --help` and `skerry help` print the list of commands', async () => {
  const bare = await skerry([]);
  const flag = await skerry(['--help']);
  const word = await skerry(['help']);
  for (const { status, stdout, stderr } of [bare, flag, word]) {
    assert.is(status, 0);
    assert.is(stderr, '');
    for (const command of commands) assert.ok(stdout.includes(`\n  ${command.name()}`), command.name());
    assert.not.ok(stdout.includes('complete-names'));
  }
});

test('-v and --version print the version', async () => {
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8'));
  for (const flag of ['-v', '--version']) {
    assert.equal(await skerry([flag]), { status: 0, stdout: `${version}\n`, stderr: '' });
  }
});

test('a mistyped command names the one that was meant', async () => {
  assertFailure(await skerry(['dploy']), 'USAGE', 2, /unknown command 'dploy'; did you mean deploy/);
});

test('a mistyped flag names the one that was meant', async () => {
  assertFailure(await skerry(['deploy', 'x.ts', '--memry', '1']), 'USAGE', 2, /'--memry'; did you mean --memory/);
});

test('a missing or superfluous argument, or a flag without its value, points to the help', async () => {
  assertFailure(await skerry(['inspect']), 'USAGE', 2, /'name'; see `skerry inspect --help`/);
  assertFailure(await skerry(['ls', 'hello']), 'USAGE', 2, /too many arguments for 'ls'/);
  assertFailure(await skerry(['deploy', 'x.ts', '--name']), 'USAGE', 2, /argument missing/);
  assertFailure(await skerry(['apply']), 'USAGE', 2, /--file <file>/);
  assertFailure(await skerry(['completion', 'tcsh']), 'USAGE', 2, /bash, zsh, fish/);
});

test('commands that are not there yet are refused, not ignored', async () => {
  for (const command of ['simulate', 'decisions']) {
    assertFailure(await skerry([command]), 'USAGE', 2, /unknown command/);
  }
});

test('as a process, a usage error exits 2 with its line on stderr and nothing on stdout', async () => {
  const result = await collect(spawnSkerry(['frobnicate']));
  assertFailure(result, 'USAGE', 2, /unknown command/);
  assert.is(result.stdout, '');
});

test.run();
