/** A terminal's screen that is written anew each time, and given back as it was (ECMA-48; the alternate screen is xterm's). */
import type { Output } from './terminal.ts';

// Lines longer than the screen is wide are cut, not wrapped.
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l';
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
const USUAL_ROWS = 24;

export class Screen {
  readonly #output: Output;
  #last: string | null = null;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Replaces what is shown; what does not fit is left out. */
  show(text: string): void {
    const lines = text.trimEnd().split('\n');
    const rows = (this.#output.rows ?? USUAL_ROWS) - 1;
    const fitting = lines.length > rows ? [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more`] : lines;
    const enter = this.#last === null ? ENTER : '';
    this.#last = text;
    this.#output.write(`${enter}${HOME}${fitting.map((line) => `${line}${CLEAR_LINE}\n`).join('')}${CLEAR_BELOW}`);
  }

  /** Gives the screen back, and leaves what was shown last on it. */
  close(): void {
    if (this.#last !== null) this.#output.write(`${LEAVE}${this.#last}`);
  }
}
