/** What hands that know docker type, and what it is here. */

const COMMANDS: Readonly<Record<string, string>> = {
  rmi: 'an image is removed by `skerry image rm`',
  'image ls': 'images are listed by `skerry images`',
  'image inspect': 'an image is shown by `skerry inspect IMAGE`',
  'image tag': 'an image is named by `skerry tag`',
  kill: 'a process is ended by `skerry stop`',
  login:
    '`skerry push` and `skerry pull` use what `docker login` or `skopeo login` kept; `skerry token create` lets clients in',
};

const STDIN = 'standard input is passed as it is, without a flag; there is no terminal (-t)';
const PORTS = '`skerry deploy IMAGE` gives what listens a URL; a process that `skerry run` starts has no ports';
const OPTIONS: Readonly<Record<string, string>> = {
  ...{ '-i': STDIN, '-t': STDIN, '-it': STDIN, '-ti': STDIN, '--interactive': STDIN, '--tty': STDIN },
  ...{ '-p': PORTS, '--publish': PORTS },
};

/** Null when it is no word of docker's. @param complaint of commander @param args what was typed */
export function dockerHint(complaint: string, args: readonly string[]): string | null {
  const [, kind, word = ''] = /^unknown (command|option) '(.*)'$/.exec(complaint) ?? [];
  if (kind === 'command') return COMMANDS[args[0] === word ? word : `${args[0]} ${word}`] ?? null;
  return (kind === 'option' ? OPTIONS[word] : null) ?? null;
}
