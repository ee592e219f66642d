/** What the completion scripts offer, taken from the commander tree. */
import type { Command, Option } from 'commander';

/** What a value can be completed with. */
export type Values = 'names' | 'files' | 'none' | readonly string[];

export interface CompletionFlag {
  /** `-f`, `--follow`: as many as there are. */
  readonly spellings: readonly string[];
  readonly description: string;
  /** Null for a flag without a value. */
  readonly value: Values | null;
}

export interface CompletionCommand {
  readonly name: string;
  readonly description: string;
  readonly flags: readonly CompletionFlag[];
  /** Of each argument in turn; the last one goes on when the command takes any number. */
  readonly args: readonly Values[];
  readonly variadic: boolean;
}

/** The subcommands, and the flags that each of them takes. */
export interface Completion {
  readonly globalFlags: readonly CompletionFlag[];
  readonly commands: readonly CompletionCommand[];
}

const FILES = new Set(['path', 'file', 'folder']);

function valuesOf(placeholder: string, choices: readonly string[] | undefined): Values {
  if (choices) return choices;
  if (placeholder === 'name') return 'names';
  return FILES.has(placeholder) ? 'files' : 'none';
}

function flagOf(option: Option): CompletionFlag {
  const spellings = [option.short, option.long].filter((spelling) => spelling !== undefined);
  const placeholder = /[<[]([^>\]]+)[>\]]/.exec(option.flags)?.[1];
  // `--name` of deploy is a new name or that of a workload to replace; `auto|jco` as a placeholder is a choice.
  const choices = option.argChoices ?? (placeholder?.includes('|') ? placeholder.split('|') : undefined);
  const value = placeholder === undefined ? null : valuesOf(placeholder, choices);
  return { spellings, description: option.description, value };
}

function flagsOf(command: Command): CompletionFlag[] {
  return command.createHelp().visibleOptions(command).map(flagOf);
}

function distinctFlags(flags: readonly CompletionFlag[]): CompletionFlag[] {
  return [...new Map(flags.map((flag) => [flag.spellings.join(), flag])).values()];
}

export function describeProgram(program: Command): Completion {
  const commands = program.createHelp().visibleCommands(program);
  return {
    globalFlags: flagsOf(program),
    commands: commands.map((command) => {
      const args = command.registeredArguments;
      const isHelp = command.name() === 'help';
      // A command of commands takes their names, and what any of them takes.
      const inner = isHelp ? commands : command.commands;
      const names = inner.map((one) => one.name());
      return {
        name: command.name(),
        description: command.description(),
        flags: isHelp ? [] : distinctFlags([command, ...inner].flatMap(flagsOf)),
        args: inner.length > 0 ? [names] : args.map((argument) => valuesOf(argument.name(), argument.argChoices)),
        variadic: args.at(-1)?.variadic ?? false,
      };
    }),
  };
}
