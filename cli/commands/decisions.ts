import type { Context } from '../context.ts';
import { timeText } from '../describe.ts';
import { table } from '../table.ts';
import { writeJson } from '../terminal.ts';

export async function decisions({ client, terminal, json }: Context, name: string): Promise<void> {
  const { decisions: all } = await client.decisions(name);
  if (json) return writeJson(terminal.stdout, { name, decisions: all });
  const rows = all.map(({ at, kind, decision, inputs }) => {
    const from = Object.entries(inputs).map(([key, value]) => `${key}=${value}`);
    return [timeText(at), kind, decision, from.join(', ')];
  });
  terminal.stdout.write(table(['TIME', 'KIND', 'DECISION', 'FROM'], rows));
}
