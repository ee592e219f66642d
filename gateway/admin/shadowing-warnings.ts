import type { Shadowing } from '../../runtime/workload/shadowing.ts';

/** What the shadowings mean for the workload `name`, a sentence each. */
export function shadowingWarnings(name: string, shadowings: readonly Shadowing[]): string[] {
  return shadowings.map(({ route, owner, shadowed, of }) =>
    owner === name
      ? `its route ${route} takes requests from ${of}, which has ${shadowed} by default`
      : `the route ${route} of ${owner} takes requests from its default route ${shadowed}`,
  );
}
