/** What a command reads, writes and listens to; tests give their own. */
import type { Readable, Writable } from 'node:stream';

export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };

export interface Terminal {
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by Ctrl-C or SIGTERM; from the first call on they no longer end the process by themselves. */
  interrupted(): AbortSignal;
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  let signal: AbortSignal | undefined;
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    interrupted() {
      if (!signal) {
        const controller = new AbortController();
        signal = controller.signal;
        // A second one finds no listener and ends the process.
        for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort());
      }
      return signal;
    },
  };
}

export type Paint = (text: string) => string;
export interface Palette {
  readonly good: Paint;
  readonly warn: Paint;
  readonly bad: Paint;
  readonly dim: Paint;
  readonly bold: Paint;
}

/** Colours for what is written to `output`: none unless it is a terminal, none with NO_COLOR (no-color.org) or a dumb one. */
export function palette(output: Output, env: Terminal['env']): Palette {
  const on = output.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
  const paint = (open: number, close: number): Paint => {
    return on ? (text) => `\u001b[${open}m${text}\u001b[${close}m` : (text) => text;
  };
  return { good: paint(32, 39), warn: paint(33, 39), bad: paint(31, 39), dim: paint(2, 22), bold: paint(1, 22) };
}

export function writeLine(output: Output, line: string): void {
  output.write(`${line}\n`);
}

/** The one document that `--json` prints. */
export function writeJson(output: Output, document: unknown): void {
  output.write(`${JSON.stringify(document, null, 2)}\n`);
}
