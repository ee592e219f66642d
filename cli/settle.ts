import { SkerryError } from '../errors/skerry-error.ts';
import type { AdminClient } from '../gateway/admin/client.ts';
import type { WorkloadView } from '../gateway/admin/schemas.ts';
import { cliErrors } from './errors.ts';

/** How long one question may stay open at the node, and how long a command waits in all, in milliseconds. */
const ASK_MS = 30_000;
const PATIENCE_MS = 300_000;

/** The workload once the node has acted on its spec; throws NOT_READY when that failed, NOT_SETTLED when it takes too long. */
export async function settle(
  client: AdminClient,
  changed: Pick<WorkloadView, 'name' | 'generation'>,
): Promise<WorkloadView> {
  const { name, generation } = changed;
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const view = await client.settled(name, generation, ASK_MS);
    const { phase, message, observedGeneration } = view.status;
    if (observedGeneration >= generation && phase !== 'progressing' && phase !== 'pending') {
      if (phase === 'failed') throw cliErrors.NOT_READY(name, message, servingText(view));
      return view;
    }
    if (Date.now() > end) throw cliErrors.NOT_SETTLED(name, phase, PATIENCE_MS / 1000);
  }
}

function servingText(view: WorkloadView): string {
  // One that has never served has the traffic all the same: its requests hear why it does not.
  const failed = new Set(view.revisions.filter(({ phase }) => phase === 'failed').map(({ id }) => id));
  const shares = view.status.traffic.filter(({ revision, percent }) => percent > 0 && !failed.has(revision));
  const serving = shares.map((share) => share.revision);
  if (serving.length === 0) return 'no revision of it serves';
  return `${serving.join(' and ')} still ${serving.length > 1 ? 'serve' : 'serves'}`;
}

/** Waits until nothing is left of a workload that is being removed; throws NOT_GONE when it takes too long. */
export async function waitUntilGone(client: AdminClient, name: string, removedGeneration: number): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      await client.settled(name, removedGeneration, ASK_MS);
      // Deployed again by someone else, meanwhile.
      return;
    } catch (error) {
      if (!(error instanceof SkerryError)) throw error;
      if (error.status === 404) return;
      if (error.code !== 'REMOVING') throw error;
    }
    if (Date.now() > end) throw cliErrors.NOT_GONE(name, PATIENCE_MS / 1000);
  }
}
