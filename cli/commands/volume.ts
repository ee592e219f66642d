import { formatBytes } from '../../runtime/workload/units.ts';
import type { Context } from '../context.ts';
import { printable } from '../printable.ts';
import { table } from '../table.ts';
import { writeJson, writeLine } from '../terminal.ts';

export async function listVolumes({ client, terminal, json }: Context): Promise<void> {
  const { volumes } = await client.volumes();
  if (json) return writeJson(terminal.stdout, { volumes });
  if (volumes.length === 0) return writeLine(terminal.stdout, 'There is no volume. `--volume NAME:/PATH` makes one.');
  const rows = volumes.map(({ name, bytes, usedBytes, usedBy }) => {
    return [name, formatBytes(bytes), formatBytes(usedBytes), usedBy.join(', ') || '-'];
  });
  terminal.stdout.write(table(['NAME', 'SIZE', 'ON DISK', 'USED BY'], rows));
}

export async function removeVolumes({ client, terminal }: Context, names: readonly string[]): Promise<void> {
  for (const name of new Set(names)) {
    await client.removeVolume(name);
    writeLine(terminal.stdout, printable(`${name} is removed`));
  }
}
