import type { Command } from 'commander';

/** Commands whose arguments behind the first are a command line of their own. */
const WITH_COMMAND = new Set(['run', 'exec']);

/**
 * Puts `--` behind the image of `run` and the name of `exec`: what follows is the other command's, its options too, while
 * options before it are ours.
 */
export function separateCommand(program: Command, args: readonly string[]): string[] {
  let command: Command | null = null;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === '--') break;
    if (arg.startsWith('-') && arg !== '-') {
      if (takesValue([program, command], arg)) i++;
    } else if (command) {
      return [...args.slice(0, i), '--', ...args.slice(i)];
    } else {
      if (!WITH_COMMAND.has(arg)) break;
      command = program.commands.find((each) => each.name() === arg) ?? null;
    }
  }
  return [...args];
}

/** Whether the next argument is the value of this option. */
function takesValue(commands: readonly (Command | null)[], arg: string): boolean {
  const options = commands.flatMap((command) => command?.options ?? []);
  const option = options.find(({ long, short }) => arg === long || arg === short);
  return option?.required === true;
}
