import type { ProcessView } from '../../gateway/admin/schemas.ts';
import { formatBytes } from '../../runtime/workload/units.ts';
import type { Context } from '../context.ts';
import { timeText } from '../describe.ts';
import { type Cell, table } from '../table.ts';
import { writeJson, writeLine } from '../terminal.ts';

export async function ps({ client, terminal, json }: Context, flags: { readonly all?: boolean }): Promise<void> {
  const { processes: every } = await client.processes();
  const processes = flags.all ? every : every.filter(({ state }) => state !== 'exited');
  if (json) return writeJson(terminal.stdout, { processes });
  if (processes.length === 0) {
    const hint = every.length > 0 ? ' `skerry ps -a` lists those that have ended.' : ' `skerry run IMAGE` runs one.';
    return writeLine(terminal.stdout, `No process runs.${hint}`);
  }
  const header = ['NAME', 'IMAGE', 'COMMAND', 'STATE', 'STARTED', 'MEMORY'];
  terminal.stdout.write(
    table(
      header,
      processes.map((view): Cell[] => [
        view.name,
        view.image,
        view.arguments.join(' ').slice(0, 40) || '-',
        stateText(view),
        timeText(view.startedAt),
        view.memoryBytes === null ? '-' : formatBytes(view.memoryBytes),
      ]),
    ),
  );
}

export function stateText({ state, exitStatus, message }: ProcessView): string {
  if (state !== 'exited') return state;
  return exitStatus === null ? `exited: ${message}` : `exited (${exitStatus})`;
}
