import type { Context } from '../context.ts';
import { trafficText } from '../describe.ts';
import { writeJson, writeLine } from '../terminal.ts';

/** Writes what is deployed as a file that `skerry apply` takes. */
export async function exportWorkloads({ client, terminal, json }: Context, name: string | undefined): Promise<void> {
  const document = await client.export(name);
  if (json) return writeJson(terminal.stdout, document);
  const { stringify } = await import('yaml');
  terminal.stdout.write(stringify(document, { lineWidth: 0 }));
  for (const { name: workload } of document.workloads) {
    const { traffic } = (await client.workload(workload)).spec;
    if (traffic.length < 2) continue;
    const shares = trafficText(traffic);
    writeLine(terminal.stderr, `${workload} splits its traffic (${shares}): the file has its first revision only`);
  }
}
