/** wasi:logging: lines of the guest with a level and a context, to the function's log, within what it may print. */
import { currentRunOrNull } from './current-run.ts';

/** `level` is the case's name in lower case. */
function log(level: string, context: string, message: string): void {
  const line = `${level.toUpperCase()} ${context === '' ? '' : `${context}: `}${message}\n`;
  currentRunOrNull()?.output.print('stderr', new TextEncoder().encode(line));
}

export const logging = { 'wasi:logging/logging': { log } };
