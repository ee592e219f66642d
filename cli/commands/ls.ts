import type { WorkloadView } from '../../gateway/admin/schemas.ts';
import type { Context } from '../context.ts';
import { phaseCell } from '../describe.ts';
import { printable } from '../printable.ts';
import { type Cell, table } from '../table.ts';
import { palette, writeJson, writeLine } from '../terminal.ts';

export async function ls({ client, terminal, json }: Context): Promise<void> {
  const workloads = await client.workloads();
  if (json) return writeJson(terminal.stdout, { workloads });
  if (workloads.length === 0) {
    return writeLine(terminal.stdout, 'Nothing is deployed; `skerry deploy FILE.ts` deploys a function.');
  }
  const colours = palette(terminal.stdout, terminal.env);
  const header = ['NAME', 'PHASE', 'REVISION', 'REQUESTS', 'ISOLATION', 'URL'];
  const rows = workloads.map((view): Cell[] => [
    view.name,
    phaseCell(view.status.phase, colours),
    revisionsText(view),
    String(view.revisions.reduce((sum, revision) => sum + (revision.stats?.requests ?? 0), 0)),
    isolationText(view),
    view.urls[0] ?? '-',
  ]);
  terminal.stdout.write(table(header, rows));
  for (const { name, status } of workloads) {
    if (status.phase === 'failed') writeLine(terminal.stdout, `${colours.bad(name)}: ${printable(status.message)}`);
  }
}

function revisionsText(view: WorkloadView): string {
  const shares = view.spec.traffic.filter((share) => share.percent > 0);
  if (shares.length === 1) return shares[0]!.revision;
  return shares.map((share) => `${share.revision} ${share.percent}%`).join(', ') || '-';
}

function isolationText(view: WorkloadView): string {
  const kinds = new Set(
    view.revisions.filter((revision) => revision.percent > 0).map((revision) => revision.isolation),
  );
  return [...kinds].join(', ') || '-';
}
