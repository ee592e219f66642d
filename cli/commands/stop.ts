import { parseDuration } from '../../runtime/workload/units.ts';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import { writeLine } from '../terminal.ts';

const GRACE_MS = 10_000;
const MAX_GRACE_MS = 3_600_000;

export async function stop(
  { client, terminal }: Context,
  names: readonly string[],
  flags: { readonly time?: string },
): Promise<void> {
  const graceMs = flags.time === undefined ? GRACE_MS : parseDuration(flags.time);
  if (graceMs === null || graceMs > MAX_GRACE_MS)
    throw cliErrors.BAD_FLAG('--time', 'must be a time up to 1h, such as "10s"');
  for (const name of new Set(names)) {
    await client.stopProcess(name, graceMs);
    writeLine(terminal.stdout, printable(name));
  }
}
