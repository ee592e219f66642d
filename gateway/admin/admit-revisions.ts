/** Policies of the moment, for kept revisions that are about to run again. */
import type { AdminServices } from './services.ts';

/** What has traffic already goes on, whatever the policies say now. Throws what they refuse it with, and STATE_CORRUPT. */
export async function admitRevisions(
  { desired, trust }: Pick<AdminServices, 'desired' | 'trust'>,
  name: string,
  revisions: readonly string[],
): Promise<void> {
  const running = new Set(desired.require(name).value.traffic.map(({ revision }) => revision));
  for (const id of revisions) {
    const revision = running.has(id) ? null : desired.revision(name, id);
    if (revision) await trust.admit(revision.artifact.digest, revision.label);
  }
}
