/** The images of the node: listed with what uses them, removed with what that frees. */
import { formatBytes } from '../../runtime/workload/units.ts';
import type { Context } from '../context.ts';
import { timeText } from '../describe.ts';
import { type Cell, table } from '../table.ts';
import { writeJson, writeLine } from '../terminal.ts';

/** Hex digits of a digest that are shown. */
const SHOWN_DIGITS = 12;

export async function listImages({ client, terminal, json }: Context): Promise<void> {
  const images = await client.images();
  if (json) return writeJson(terminal.stdout, { images });
  if (images.length === 0) {
    return writeLine(terminal.stdout, 'There are no images; push one to the registry of the node, or deploy one.');
  }
  const rows = images.map(({ name, origin, digest, createdAt, size, frees, usedBy }): Cell[] => [
    short(name),
    origin,
    short(digest),
    timeText(createdAt),
    formatBytes(size),
    formatBytes(frees),
    usedBy.join(', ') || '-',
  ]);
  const header = ['NAME', 'ORIGIN', 'DIGEST', 'SINCE', 'SIZE', 'RM FREES', 'USED BY'];
  terminal.stdout.write(table(header, rows));
}

export async function removeImages({ client, terminal, json }: Context, names: readonly string[]): Promise<void> {
  const removed = [];
  for (const name of new Set(names)) {
    const image = await client.removeImage(name);
    removed.push(image);
    const users = image.usedBy.length > 0 ? `; ${image.usedBy.join(', ')} keeps what it is made from` : '';
    if (!json) writeLine(terminal.stdout, `${image.name} is removed: ${formatBytes(image.bytes)} freed${users}`);
  }
  if (json) writeJson(terminal.stdout, { removed });
}

export async function pruneImages({ client, terminal, json }: Context, flags: { dryRun?: boolean }): Promise<void> {
  const pruned = await client.pruneImages(flags.dryRun === true);
  if (json) return writeJson(terminal.stdout, pruned);
  const young =
    pruned.youngBytes > 0
      ? `; ${formatBytes(pruned.youngBytes)} that nothing needs may belong to a push, and stay for an hour`
      : '';
  const verb = pruned.dryRun ? 'would be freed' : 'freed';
  writeLine(terminal.stdout, `${formatBytes(pruned.bytes)} in ${pruned.blobs} blobs ${verb}${young}`);
}

/** `sha256:` and the first digits of a digest; names as they are. */
function short(name: string): string {
  const [, algorithm, hex = ''] = /^(sha256|sha512):([0-9a-f]{64,})$/.exec(name) ?? [];
  return algorithm === undefined ? name : `${algorithm}:${hex.slice(0, SHOWN_DIGITS)}`;
}
