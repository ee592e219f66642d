import { setImmediate } from 'node:timers/promises';
import { getSystemErrorMap } from 'node:util';
import { type Command, CommanderError } from 'commander';
import type { SkerryError } from '../errors/skerry-error.ts';
import { dockerHint } from './docker-words.ts';
import { cliErrors } from './errors.ts';
import { asFailure } from './failure.ts';
import { printable } from './printable.ts';
import { ProcessStatus } from './process-status.ts';
import { createProgram } from './program.ts';
import { separateCommand } from './separate-command.ts';
import { type Output, palette, type Terminal, writeLine } from './terminal.ts';

/**
 * Runs one command line (without the interpreter and the script) and resolves to the exit status, once what it printed
 * is written. Whatever goes wrong is told in one line on stderr; with SKERRY_DEBUG=1 the stack and the causes follow.
 */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { stdout, stderr, env } = terminal;
  const broken = new Promise<Error>((resolve) => stdout.on('error', resolve));
  const ended = execute(args, terminal).then(async (failure) => {
    await flush(stdout);
    return failure;
  });
  // A command that has nowhere left to print is not waited for.
  const failure = await Promise.race([broken.then(outputFailure), ended]);
  if (!failure) return 0;
  if (failure instanceof ProcessStatus) return failure.exit;
  writeLine(stderr, printable(failure.message));
  if (env.SKERRY_DEBUG === '1') {
    for (let cause: unknown = failure; cause instanceof Error; cause = cause.cause) {
      writeLine(stderr, palette(stderr, env).dim(cause.stack ?? cause.message));
    }
  }
  return failure.exit;
}

/** Resolves to what is to be told of a command that failed, null when it did not. */
async function execute(args: readonly string[], terminal: Terminal): Promise<SkerryError | null> {
  const program = createProgram(terminal);
  try {
    await program.parseAsync(separateCommand(program, args), { from: 'user' });
    return null;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) return asFailure(thrown);
    if (thrown.exitCode === 0) return null;
    if (thrown.code !== 'commander.help') return usage(program, args, thrown);
    terminal.stdout.write((commandOf(program, args) ?? program).helpInformation());
    return null;
  }
}

/** Resolves when all that was written has gone out, or the stream has told its error. */
async function flush(output: Output): Promise<void> {
  // Only behind what waits: an empty write is a write, and fails where there is no room.
  if (output.writableLength > 0) await new Promise<void>((resolve) => output.write('', () => resolve()));
  // A stream tells the error of a write after the turn that made it.
  await setImmediate();
}

/** Null where the reader went away (`skerry logs hello | head`): nobody is left to tell anything. */
function outputFailure(error: NodeJS.ErrnoException): SkerryError | null {
  if (error.code === 'EPIPE') return null;
  const [, why = error.message] = getSystemErrorMap().get(error.errno ?? 0) ?? [];
  return cliErrors.OUTPUT_LOST(why).because(error);
}

function commandOf(program: Command, args: readonly string[]): Command | undefined {
  return program.commands.find((candidate) => args.includes(candidate.name()));
}

/** Commander's complaint in one line, with what was probably meant or where to read on. */
function usage(program: Command, args: readonly string[], error: CommanderError): SkerryError {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const meant = /\(Did you mean (.+)\?\)/.exec(rest.join(' '))?.[1];
  const command = commandOf(program, args);
  const complaint = first.replace(/\.$/, '');
  const hint = dockerHint(complaint, args);
  if (hint !== null) return cliErrors.USAGE(complaint, hint);
  const help = `see \`skerry ${command ? `${command.name()} ` : ''}--help\``;
  return cliErrors.USAGE(complaint, meant ? `did you mean ${meant}` : help);
}
