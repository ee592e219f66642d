/** What conmon tells: whether a container came to be, and how it ended. */
import type { Readable } from 'node:stream';
import type { Exit } from '../../runtime/driver.ts';

/** Exit status as a shell tells it: 128 and the number of the signal that ended it. */
export function exitOf(status: number, outOfMemory: boolean): Exit {
  // Of a process that was killed: others of it may have been before, and it went on.
  if (outOfMemory && status === 128 + 9)
    return { code: status, signal: 'SIGKILL', reason: 'out-of-memory', message: 'it ran out of memory' };
  if (status > 128) {
    const signal = status - 128;
    return { code: status, signal: String(signal), reason: 'exited', message: `it was ended by signal ${signal}` };
  }
  return { code: status, signal: null, reason: 'exited', message: `it exited with status ${status}` };
}

/** Of a process whose conmon was killed; null where the kernel does not tell either. */
export function unwrittenExit(exit: { readonly code: number | null; readonly signal: string | null } | null): Exit {
  const { code = null, signal = null } = exit ?? {};
  const how =
    code !== null ? `it exited with status ${code}` : signal !== null ? `it was ended by ${signal}` : 'it has ended';
  return { code, signal, reason: 'exited', message: `${how}; conmon, which watched it, had been killed` };
}

export function parseAnswer(text: string): { pid: number; message: string } | null {
  try {
    const { pid, data, message = '' } = JSON.parse(text) as { pid?: number; data?: number; message?: string };
    return { pid: pid ?? data ?? -1, message };
  } catch {
    return null;
  }
}

/** All that comes of a stream until its end; `late` is called after `ms`. */
export function textOf(stream: Readable, ms: number, late = () => {}): Promise<string> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const timer = setTimeout(() => {
      late();
      done();
    }, ms);
    const done = () => {
      clearTimeout(timer);
      stream.destroy();
      resolve(Buffer.concat(pieces).toString());
    };
    stream.on('data', (piece: Buffer) => {
      pieces.push(piece);
      // One line is all that it says; who holds the other end lives on.
      if (piece.includes(10)) done();
    });
    stream.on('end', done).on('error', done);
  });
}
