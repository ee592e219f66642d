import type { Context } from '../context.ts';
import { phaseCell, timeText } from '../describe.ts';
import { type Cell, table } from '../table.ts';
import { palette, writeJson } from '../terminal.ts';

export async function revisions({ client, terminal, json }: Context, name: string): Promise<void> {
  const view = await client.workload(name);
  if (json) return writeJson(terminal.stdout, { name, revisions: view.revisions });
  const colours = palette(terminal.stdout, terminal.env);
  const rows = view.revisions.map((revision): Cell[] => [
    revision.id,
    timeText(revision.createdAt),
    `${revision.percent}%`,
    phaseCell(revision.phase, colours),
    revision.label,
  ]);
  terminal.stdout.write(table(['REVISION', 'CREATED', 'TRAFFIC', 'PHASE', 'SOURCE'], rows));
}
