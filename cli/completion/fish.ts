import type { Completion, CompletionFlag, Values } from './description.ts';

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function offer(values: Values | null): string {
  if (values === null) return '';
  if (values === 'names') return " -x -a '(__skerry_names)'";
  if (values === 'files') return ' -r -F';
  if (values === 'none') return ' -x';
  return ` -x -a ${quoted(values.join(' '))}`;
}

function flagLine(flag: CompletionFlag, condition: string): string {
  const spellings = flag.spellings.map((one) => (one.startsWith('--') ? `-l ${one.slice(2)}` : `-s ${one.slice(1)}`));
  return `complete -c skerry ${condition}${spellings.join(' ')} -d ${quoted(flag.description)}${offer(flag.value)}\n`;
}

export function fishCompletion({ globalFlags, commands }: Completion): string {
  const names = commands.map((command) => command.name).join(' ');
  let script = `# Completion of skerry for fish. Keep it as ~/.config/fish/completions/skerry.fish
function __skerry_names
    skerry complete-names 2>/dev/null
end

complete -c skerry -f
`;
  for (const flag of globalFlags) script += flagLine(flag, '');
  for (const { name, description } of commands) {
    script += `complete -c skerry -n 'not __fish_seen_subcommand_from ${names}' -a ${name} -d ${quoted(description)}\n`;
  }
  for (const command of commands) {
    const condition = `-n '__fish_seen_subcommand_from ${command.name}' `;
    for (const flag of command.flags) script += flagLine(flag, condition);
    const values = command.args[0];
    if (values !== undefined && values !== 'none') script += `complete -c skerry ${condition}${offer(values).trim()}\n`;
  }
  return script;
}
