import type { Context } from '../context.ts';

/** What the completion scripts ask for: the names of the workloads, one a line, and never an error. */
export async function completeNames({ client, terminal }: Context): Promise<void> {
  // A shell waits for this: without an answer in time there are no names to offer.
  const timeout = setTimeout(() => process.exit(0), 1000);
  try {
    for (const view of await client.workloads()) terminal.stdout.write(`${view.name}\n`);
  } catch {
  } finally {
    clearTimeout(timeout);
  }
}
