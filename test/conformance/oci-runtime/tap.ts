/** Results in the Test Anything Protocol, as the suite prints them. */

export interface TapResult {
  readonly what: string;
  readonly state: 'passed' | 'failed' | 'skipped' | 'to do';
}

export function parseTap(text: string): TapResult[] {
  return Array.from(text.matchAll(/^(not )?ok \d+ ?(?:- )?(.*)$/gm), ([, not, line = '']) => {
    const [, before = line, directive, after = ''] = /^(.*?)\s*# (SKIP|TODO)\b ?(.*)$/.exec(line) ?? [];
    const what = before || after;
    if (directive) return { what, state: directive === 'SKIP' ? 'skipped' : 'to do' };
    return { what, state: not ? 'failed' : 'passed' };
  });
}
