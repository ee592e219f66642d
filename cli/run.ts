import { type Command, CommanderError } from 'commander';
import { cliErrors } from './errors.ts';
import { asFailure } from './failure.ts';
import { printable } from './printable.ts';
import { createProgram } from './program.ts';
import { palette, type Terminal, writeLine } from './terminal.ts';

/**
 * Runs one command line (without the interpreter and the script) and resolves to the exit status. Whatever goes wrong
 * is told in one line on stderr; with SKERRY_DEBUG=1 the stack and the causes follow.
 */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const program = createProgram(terminal);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    if (thrown instanceof CommanderError && thrown.code === 'commander.help') {
      terminal.stdout.write((commandOf(program, args) ?? program).helpInformation());
      return 0;
    }
    if ((thrown as NodeJS.ErrnoException)?.code === 'EPIPE') return 0;
    const failure = thrown instanceof CommanderError ? usage(program, args, thrown) : asFailure(thrown);
    writeLine(terminal.stderr, printable(failure.message));
    if (terminal.env.SKERRY_DEBUG === '1') {
      for (let cause: unknown = failure; cause instanceof Error; cause = cause.cause) {
        writeLine(terminal.stderr, palette(terminal.stderr, terminal.env).dim(cause.stack ?? cause.message));
      }
    }
    return failure.exit;
  }
}

function commandOf(program: Command, args: readonly string[]): Command | undefined {
  return program.commands.find((candidate) => args.includes(candidate.name()));
}

/** Commander's complaint in one line, with what was probably meant or where to read on. */
function usage(program: Command, args: readonly string[], error: CommanderError) {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const meant = /\(Did you mean (.+)\?\)/.exec(rest.join(' '))?.[1];
  const command = commandOf(program, args);
  const help = `see \`skerry ${command ? `${command.name()} ` : ''}--help\``;
  return cliErrors.USAGE(first.replace(/\.$/, ''), meant ? `did you mean ${meant}` : help);
}
