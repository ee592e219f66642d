import type { Completion, CompletionCommand, CompletionFlag, Values } from './description.ts';

/** Lists candidates into COMPREPLY. */
function reply(values: Values | null): string {
  if (values === 'names') return '_skerry_names';
  // readline completes the name of a file itself where the reply is empty (complete -o default).
  if (values === 'files') return 'COMPREPLY=()';
  if (values === null || values === 'none') return 'compopt +o default 2>/dev/null';
  return `COMPREPLY=($(compgen -W '${values.join(' ')}' -- "$cur"))`;
}

function words(flags: readonly CompletionFlag[]): string {
  return flags.flatMap((flag) => flag.spellings).join(' ');
}

/** `case` arms for the flags that take a value: what can follow them. */
function valueArms(flags: readonly CompletionFlag[], indent: string): string {
  return flags
    .filter((flag) => flag.value !== null)
    .map((flag) => `${indent}${flag.spellings.join('|')}) ${reply(flag.value)}; return ;;\n`)
    .join('');
}

function commandArm(command: CompletionCommand, globals: readonly CompletionFlag[]): string {
  const all = [...command.flags, ...globals];
  const args = command.args.map((values, i) => {
    const last = i === command.args.length - 1 && command.variadic;
    return `          ${last ? '*' : i}) ${reply(values)} ;;\n`;
  });
  return `    ${command.name})
      case "$prev" in
${valueArms(all, '        ')}      esac
      if [[ "$cur" == -* ]]; then
        COMPREPLY=($(compgen -W '${words(all)}' -- "$cur"))
      else
        case "$argument" in
${args.join('')}        esac
      fi
      ;;
`;
}

/** The flags that take a value, anywhere: the word behind one is no argument. */
function takersOf(completion: Completion): string {
  const flags = [...completion.globalFlags, ...completion.commands.flatMap((command) => command.flags)];
  return [...new Set(flags.filter((flag) => flag.value !== null).flatMap((flag) => flag.spellings))].join('|');
}

export function bashCompletion(completion: Completion): string {
  const { globalFlags, commands } = completion;
  return `# Completion of skerry for bash. Use it with: source <(skerry completion bash)
_skerry_names() {
  COMPREPLY=($(compgen -W "$("\${COMP_WORDS[0]}" complete-names "\${connection[@]}" 2>/dev/null)" -- "$cur"))
}

_skerry() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}"
  local command='' argument=0 i
  local -a connection=()
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in
      --data|--node) connection+=("\${COMP_WORDS[i]}" "\${COMP_WORDS[i+1]}"); ((i++)) ;;
      ${takersOf(completion)}) ((i++)) ;;
      -*) ;;
      *) if [[ -z "$command" ]]; then command="\${COMP_WORDS[i]}"; else ((argument++)); fi ;;
    esac
  done
  case "$command" in
    '')
      case "$prev" in
${valueArms(globalFlags, '        ')}      esac
      if [[ "$cur" == -* ]]; then
        COMPREPLY=($(compgen -W '${words(globalFlags)}' -- "$cur"))
      else
        COMPREPLY=($(compgen -W '${commands.map((command) => command.name).join(' ')}' -- "$cur"))
      fi
      ;;
${commands.map((command) => commandArm(command, globalFlags)).join('')}  esac
}
complete -o default -F _skerry skerry
`;
}
