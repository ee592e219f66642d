import type { WorkloadView } from '../gateway/admin/schemas.ts';
import { cliErrors } from './errors.ts';

/** The one revision whose id begins with what was given; throws NO_SUCH_REVISION, AMBIGUOUS_REVISION. */
export function resolveRevision(view: WorkloadView, given: string): string {
  const matches = view.revisions.map((revision) => revision.id).filter((id) => id.startsWith(given.toLowerCase()));
  if (given === '' || matches.length === 0) throw cliErrors.NO_SUCH_REVISION(view.name, given);
  if (matches.length > 1) throw cliErrors.AMBIGUOUS_REVISION(view.name, given, matches.join(' or '));
  return matches[0] as string;
}
