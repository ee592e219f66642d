import type { BuildProblem } from './protocol.ts';

/** Where the engine's own report ends and that of the snapshot tool about its stack begins. */
const trap = 'Error: the `componentize.wizer` function trapped';
const heading = 'Exception while evaluating top-level script';
const place = /^(?:\S*\/)?([\w.-]+\.js):(\d+):(\d+) (.+)$/;
const missingModule = /Error loading module "([^"]*)"/;
const outOfMemory = /^uncaught exception: out of memory|^memory allocation of \d+ bytes failed/m;

/** What the run of a source's top level died of, from what the engine printed. */
export function diagnose(stderr: string, signal: string | null): BuildProblem {
  if (outOfMemory.test(stderr)) return { kind: 'memory' };
  const [report = '', afterTrap] = stderr.split(trap);
  const lines = report.split('\n').map((line) => line.trimEnd());
  const start = lines.indexOf(heading);
  const message = lines.slice(start + 1).find((line) => line !== '');
  if (start >= 0 && message !== undefined) return { kind: 'failed', problem: explained(message, lines) };
  if (afterTrap !== undefined && signal === null) {
    const problem = 'the top level of the source called an import that only works while a request is handled';
    return { kind: 'failed', problem };
  }
  const last = lines.findLast((line) => line !== '') ?? 'no message';
  return { kind: 'broken', why: signal === null ? last : `the snapshot tool was ended by ${signal}: ${last}` };
}

function explained(message: string, lines: readonly string[]): string {
  const [, file, line, column, text] = place.exec(message) ?? [];
  const what =
    unknownModule(text ?? message) ?? (text ?? message).replace(/:$/, '').replace(/^uncaught exception: /, '');
  if (file === 'function.js') return `function.js:${line}:${column}: ${what}`;
  const frame = lines.map((each) => /@(?:\S*\/)?function\.js:(\d+):(\d+)$/.exec(each)).find((found) => found !== null);
  return frame ? `function.js:${frame[1]}:${frame[2]}: ${what}` : `the top level of the source failed: ${what}`;
}

function unknownModule(text: string): string | undefined {
  const name = missingModule.exec(text)?.[1];
  return name === undefined
    ? undefined
    : `the import "${name}" cannot be resolved: it is not part of the bundle, nor offered`;
}
