import type { LogLine } from '../../gateway/admin/schemas.ts';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import { type Palette, palette } from '../terminal.ts';

export interface LogFlags {
  readonly follow?: boolean;
  readonly tail?: string;
}

/** What the admin API gives at most. */
const MAX_TAIL = 100_000;

const STREAMS = { stdout: 'out', stderr: 'err', node: 'node' } as const;

/** Prints the log of a workload; with `--json` a document a line, since a log that is followed has no end. */
export async function logs({ client, terminal, json }: Context, name: string, flags: LogFlags): Promise<void> {
  const tail = flags.tail === undefined ? undefined : Number(flags.tail);
  if (flags.tail !== undefined && !(/^\d+$/.test(flags.tail) && Number(flags.tail) <= MAX_TAIL)) {
    throw cliErrors.BAD_FLAG('--tail', `must be a whole number of lines up to ${MAX_TAIL}`);
  }
  const follow = flags.follow === true;
  const options = {
    follow,
    ...(tail === undefined ? {} : { tail }),
    ...(follow ? { signal: terminal.interrupted() } : {}),
  };
  const colours = palette(terminal.stdout, terminal.env);
  for await (const line of client.logs(name, options)) {
    const text = json ? JSON.stringify(line) : logText(line, colours);
    if (!terminal.stdout.write(`${text}\n`)) await drained(terminal.stdout);
  }
}

function logText(line: LogLine, colours: Palette): string {
  const { dim, warn } = colours;
  const text = printable(line.text);
  const stream = STREAMS[line.stream].padEnd(4);
  const mark = line.stream === 'stdout' ? dim(stream) : warn(stream);
  return `${dim(printable(line.time))} ${dim(printable(line.requestId || '-'))} ${mark} ${text}`;
}

function drained(output: Context['terminal']['stdout']): Promise<void> {
  return new Promise((done) => {
    output.once('drain', done);
    output.once('close', done);
  });
}
