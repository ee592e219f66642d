/** How many instances of a revision a load asks for. */
import type { Scale } from '../../workload/documents.ts';

/** `requests`: those that run and those that wait. At least one for what is served at all. */
export function replicasWanted(requests: number, concurrency: number, scale: Pick<Scale, 'min' | 'max'>): number {
  const most = Math.max(1, scale.max);
  return Math.min(most, Math.max(1, scale.min, Math.ceil(requests / concurrency)));
}
