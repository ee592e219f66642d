/** Which images a Dockerfile begins from. The builder has no network: what it needs is brought to it before. */

/** Instructions, each in one line, without comments; as far as FROM, ARG and COPY need it. */
function instructions(dockerfile: string): string[] {
  const joiner = /^#\s*escape\s*=\s*`/im.test(dockerfile.split('\n', 5).join('\n')) ? '`' : '\\';
  const found: string[] = [];
  let line = '';
  for (const raw of dockerfile.split(/\r?\n/)) {
    if (/^\s*#/.test(raw)) continue;
    const text = raw.trimEnd();
    if (text.endsWith(joiner)) {
      line += `${text.slice(0, -1)} `;
      continue;
    }
    found.push((line + text).trim());
    line = '';
  }
  found.push(line.trim());
  return found.filter((each) => each !== '');
}

/** `$NAME`, `${NAME}`, `${NAME:-DEFAULT}`, `${NAME:+OTHER}`. */
function expand(text: string, args: ReadonlyMap<string, string>): string {
  return text.replaceAll(
    /\$(?:(\w+)|\{(\w+)(?:(:[-+])([^}]*))?\})/g,
    (_, plain: string, braced: string, rule: string, other: string) => {
      const value = args.get(plain ?? braced) ?? '';
      if (rule === ':-') return value === '' ? other : value;
      if (rule === ':+') return value === '' ? '' : other;
      return value;
    },
  );
}

/** As the Dockerfile writes them, each once; without `scratch` and the names of its own stages. */
export function basesOf(dockerfile: string, given: Readonly<Record<string, string>>): string[] {
  const args = new Map<string, string>();
  const stages = new Set<string>(['scratch']);
  const bases = new Set<string>();
  let begun = false;
  const want = (image: string) => {
    if (image !== '' && !stages.has(image.toLowerCase()) && !/^\d+$/.test(image)) bases.add(image);
  };
  for (const text of instructions(dockerfile)) {
    const [, word = '', rest = ''] = /^(\w+)\s+(.*)$/s.exec(text) ?? [];
    switch (word.toUpperCase()) {
      case 'ARG': {
        // Those before the first FROM are for FROM lines.
        if (begun) break;
        for (const part of rest.split(/\s+/)) {
          const [name = '', value = ''] = part.split(/=(.*)/s);
          args.set(name, given[name] ?? expand(value.replace(/^(["'])(.*)\1$/, '$2'), args));
        }
        break;
      }
      case 'FROM': {
        begun = true;
        const words = rest.split(/\s+/).filter((each) => !each.startsWith('--'));
        want(expand(words[0] ?? '', args));
        if (words[1]?.toUpperCase() === 'AS' && words[2]) stages.add(words[2].toLowerCase());
        break;
      }
      case 'COPY':
      case 'ADD':
      case 'RUN':
        for (const [, image = ''] of rest.matchAll(/(?:--from=|[,\s]from=)([^\s,]+)/g)) want(expand(image, args));
        break;
    }
  }
  return [...bases];
}
