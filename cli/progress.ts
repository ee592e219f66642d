import { printable } from './printable.ts';
import type { Terminal } from './terminal.ts';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** What a long command is doing: one line that is kept up to date on a terminal, else a line for each step. */
export interface Progress {
  /** `part` of the step, in bytes, where that is known. */
  step(text: string, part?: { readonly done: number; readonly total: number }): void;
  /** Takes the line away; what the command prints next stands in its place. */
  done(): void;
}

export function showProgress(terminal: Terminal): Progress {
  const { stderr, env } = terminal;
  if (stderr.isTTY !== true || env.TERM === 'dumb') return plainProgress(terminal);
  let timer: NodeJS.Timeout | undefined;
  let current = '';
  let bar = '';
  let since = 0;
  let frame = 0;
  const draw = () => {
    const seconds = Math.floor((Date.now() - since) / 1000);
    const line = `${FRAMES[frame++ % FRAMES.length]} ${bar}${current}${seconds > 0 && bar === '' ? ` (${seconds} s)` : ''}`;
    stderr.write(`\r\u001b[2K${[...line].slice(0, (stderr.columns ?? 80) - 1).join('')}`);
  };
  return {
    step(text, part) {
      current = printable(text);
      bar = part ? barOf(part.done / Math.max(1, part.total)) : '';
      since = Date.now();
      draw();
      timer ??= setInterval(draw, 100);
      timer.unref();
    },
    done() {
      if (!timer) return;
      clearInterval(timer);
      timer = undefined;
      stderr.write('\r\u001b[2K');
    },
  };
}

/** Characters of a bar. */
const BAR = 24;

function barOf(share: number): string {
  const full = Math.round(Math.min(1, share) * BAR);
  return `${'█'.repeat(full)}${'░'.repeat(BAR - full)} `;
}

/** A step is told once it has lasted this long (milliseconds), so that a quick failure is the only line there is. */
const PATIENCE = 1000;
/** Of a transfer so much time is between two lines, in milliseconds. */
const PART_EVERY = 5000;

function plainProgress({ stderr }: Terminal): Progress {
  let current = '';
  let timer: NodeJS.Timeout | undefined;
  let told = Date.now();
  return {
    step(text, part) {
      if (text === current) return;
      if (part) {
        // Parts come faster than anybody reads them.
        if (Date.now() - told < PART_EVERY) return;
        told = Date.now();
        stderr.write(`${printable(text)}\n`);
        return;
      }
      clearTimeout(timer);
      current = text;
      timer = setTimeout(() => stderr.write(`${printable(text)}\n`), PATIENCE);
      timer.unref();
    },
    done() {
      clearTimeout(timer);
      current = '';
    },
  };
}
