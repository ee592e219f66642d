import type { Completion, CompletionFlag, Values } from './description.ts';

/** Inside single quotes, and inside the brackets of an _arguments specification. */
function quoted(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, '\\$&').replaceAll("'", "'\\''");
}

function action(values: Values): string {
  if (values === 'names') return '_skerry_names';
  if (values === 'files') return '_files';
  if (values === 'none') return ' ';
  return `(${values.join(' ')})`;
}

function flagSpec(flag: CompletionFlag): string[] {
  return flag.spellings.map((spelling) => {
    const value = flag.value === null ? '' : `:value:${action(flag.value)}`;
    return `'*${spelling}[${quoted(flag.description)}]${value}'`;
  });
}

export function zshCompletion({ globalFlags, commands }: Completion): string {
  const list = commands.map(({ name, description }) => `    '${name}:${quoted(description)}'`).join('\n');
  const globals = globalFlags.flatMap(flagSpec);
  const arms = commands.map((command) => {
    const args = command.args.map((values, i) => {
      const last = i === command.args.length - 1 && command.variadic;
      return `'${last ? '*' : i + 1}:argument:${action(values)}'`;
    });
    const specs = [...command.flags.flatMap(flagSpec), ...globals, ...args];
    return `        ${command.name})\n          _arguments -s ${specs.map((spec) => `\\\n            ${spec}`).join(' ')}\n          ;;`;
  });
  return `#compdef skerry
# Completion of skerry for zsh. Keep it as _skerry in a folder of $fpath.
_skerry_names() {
  local -a names
  names=(\${(f)"$(skerry complete-names 2>/dev/null)"})
  compadd -a names
}

_skerry() {
  local -a commands
  commands=(
${list}
  )
  _arguments -C ${globals.map((spec) => `\\\n    ${spec}`).join(' ')} \\
    '1:command:->command' '*::argument:->arguments'
  case $state in
    command) _describe command commands ;;
    arguments)
      case $words[1] in
${arms.join('\n')}
      esac
      ;;
  esac
}

if [ "$funcstack[1]" = _skerry ]; then _skerry "$@"; else compdef _skerry skerry; fi
`;
}
