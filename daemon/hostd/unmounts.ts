import type { Cgroups } from '../../native/host/index.ts';

/** Options of the launcher: crun takes an empty version 2 beside version 1 for the real one. */
export function unmounts({ layout: { mode, v2 } }: Cgroups): string[] {
  return mode === 'hybrid' && v2?.controllers.length === 0 ? ['--unmount', v2.mount] : [];
}
