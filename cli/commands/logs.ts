import type { AdminClient } from '../../gateway/admin/client.ts';
import type { LogLine } from '../../gateway/admin/schemas.ts';
import { room } from '../../runtime/room.ts';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import { BundleMap, namesBundle, withSourcePlaces } from '../source-map.ts';
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
  const inSource = sourcePlaces(client, name);
  for await (const written of client.logs(name, options)) {
    const line = namesBundle(written.text) ? await inSource(written) : written;
    const text = json ? JSON.stringify(line) : logText(line, colours);
    if (!terminal.stdout.write(`${text}\n`)) await room(terminal.stdout);
  }
}

/**
 * Tells stack frames by the files that the function was made from, with the source map of the line's revision; lines of a
 * revision without one stay as they are.
 */
function sourcePlaces(client: AdminClient, name: string): (line: LogLine) => Promise<LogLine> {
  const maps = new Map<string, Promise<BundleMap | null>>();
  const read = async (revision: string) => {
    try {
      return new BundleMap(await client.sourceMap(name, revision));
    } catch {
      // It was built without one, or is no longer kept: what it wrote is shown all the same.
      return null;
    }
  };
  return async (line) => {
    if (!maps.has(line.revision)) maps.set(line.revision, read(line.revision));
    const map = await maps.get(line.revision);
    return map ? { ...line, text: withSourcePlaces(line.text, map) } : line;
  };
}

function logText(line: LogLine, colours: Palette): string {
  const { dim, warn } = colours;
  const text = printable(line.text);
  const stream = STREAMS[line.stream].padEnd(4);
  const mark = line.stream === 'stdout' ? dim(stream) : warn(stream);
  return `${dim(printable(line.time))} ${dim(printable(line.requestId || '-'))} ${mark} ${text}`;
}
