/** What a token allows, and what a client asks for: https://distribution.github.io/distribution/spec/auth/scope/ */

const ACTIONS = ['pull', 'push', 'delete'] as const;
export type Action = (typeof ACTIONS)[number];

/** Actions in all repositories whose name fits the pattern. */
export interface Grant {
  /** The name of a repository; `*` stands for any characters, slashes too. */
  readonly pattern: string;
  readonly actions: readonly Action[];
}

/** Actions in one repository. */
export interface Access {
  readonly repository: string;
  readonly actions: readonly Action[];
}

const patternGrammar = /^[a-z0-9._/*-]{1,255}$/;

function parseActions(text: string): Action[] | null {
  const wanted = new Set(text.split(','));
  if (wanted.size === 1 && wanted.has('*')) return [...ACTIONS];
  const known = ACTIONS.filter((action) => wanted.delete(action));
  return wanted.size === 0 && known.length > 0 ? known : null;
}

/** `repository:PATTERN:ACTIONS`; null when it is something else. */
export function parseGrant(text: string): Grant | null {
  const [kind, pattern = '', actions = '', more] = text.split(':');
  const parsed = parseActions(actions);
  if (kind !== 'repository' || more !== undefined || !patternGrammar.test(pattern) || !parsed) return null;
  return { pattern, actions: parsed };
}

export function formatGrant({ pattern, actions }: Grant): string {
  return `repository:${pattern}:${actions.join(',')}`;
}

/** What one of a client's scopes asks for; null for what is not about a repository. Actions of others are left out. */
export function parseRequest(scope: string): Access | null {
  // A class may stand behind the kind.
  const match = /^repository(?:\([^)]*\))?:(.+):([a-z,*]*)$/.exec(scope);
  if (!match) return null;
  const wanted = new Set(match[2]!.split(','));
  return { repository: match[1]!, actions: ACTIONS.filter((action) => wanted.has(action) || wanted.has('*')) };
}

/** Linear in both, whatever the pattern: a star takes as little as it can, and only the last one is ever moved. */
export function matches(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let taken = 0;
  while (n < name.length) {
    if (pattern[p] === '*') {
      star = p++;
      taken = n;
    } else if (pattern[p] === name[n]) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

export function allows(grants: readonly Grant[], repository: string, action: Action): boolean {
  return grants.some(({ pattern, actions }) => actions.includes(action) && matches(pattern, repository));
}
