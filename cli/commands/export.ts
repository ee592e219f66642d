import type { Context } from '../context.ts';
import { writeJson } from '../terminal.ts';

/** Writes what is deployed as a file that `skerry apply` takes. */
export async function exportWorkloads({ client, terminal, json }: Context, name: string | undefined): Promise<void> {
  const document = await client.export(name);
  if (json) return writeJson(terminal.stdout, document);
  const { stringify } = await import('yaml');
  terminal.stdout.write(stringify(document, { lineWidth: 0 }));
}
