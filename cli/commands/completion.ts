import type { Command } from 'commander';
import { bashCompletion } from '../completion/bash.ts';
import { describeProgram } from '../completion/description.ts';
import { fishCompletion } from '../completion/fish.ts';
import { zshCompletion } from '../completion/zsh.ts';
import type { Context } from '../context.ts';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** Prints a script made from the command tree itself, so that it offers what there is. */
export function completion({ terminal }: Context, program: Command, shell: keyof typeof SHELLS): void {
  terminal.stdout.write(SHELLS[shell](describeProgram(program)));
}
