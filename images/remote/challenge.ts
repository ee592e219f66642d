/** What a registry asks for in WWW-Authenticate: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1 */

export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const separator = /[\s,]*/y;
const equals = /\s*=\s*/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;

/** All that can be read of it; nothing is thrown. */
export function parseChallenges(header: string): Challenge[] {
  const found: { scheme: string; parameters: Map<string, string> }[] = [];
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const match = pattern.exec(header);
    if (match) position = pattern.lastIndex;
    return match;
  };
  while (position < header.length) {
    take(separator);
    const name = take(token)?.[0];
    if (name === undefined) break;
    if (take(equals) && found.length > 0) {
      const value = take(quoted)?.[1]?.replace(/\\(.)/g, '$1') ?? take(token)?.[0];
      if (value === undefined) break;
      found.at(-1)!.parameters.set(name.toLowerCase(), value);
    } else found.push({ scheme: name.toLowerCase(), parameters: new Map() });
  }
  return found;
}
