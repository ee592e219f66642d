import { printable } from './printable.ts';
import type { Terminal } from './terminal.ts';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** What a long command is doing: one line that is kept up to date on a terminal, else a line for each step. */
export interface Progress {
  step(text: string): void;
  /** Takes the line away; what the command prints next stands in its place. */
  done(): void;
}

export function showProgress(terminal: Terminal): Progress {
  const { stderr, env } = terminal;
  if (stderr.isTTY !== true || env.TERM === 'dumb') return plainProgress(terminal);
  let timer: NodeJS.Timeout | undefined;
  let current = '';
  let since = 0;
  let frame = 0;
  const draw = () => {
    const seconds = Math.floor((Date.now() - since) / 1000);
    const line = `${FRAMES[frame++ % FRAMES.length]} ${current}${seconds > 0 ? ` (${seconds} s)` : ''}`;
    stderr.write(`\r\u001b[2K${[...line].slice(0, (stderr.columns ?? 80) - 1).join('')}`);
  };
  return {
    step(text) {
      current = printable(text);
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

/** A step is told once it has lasted this long (milliseconds), so that a quick failure is the only line there is. */
const PATIENCE = 1000;

function plainProgress({ stderr }: Terminal): Progress {
  let current = '';
  let timer: NodeJS.Timeout | undefined;
  return {
    step(text) {
      if (text === current) return;
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
