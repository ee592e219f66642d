/** How many instances of a revision a load asks for. */
import type { Scale } from '../workload/documents.ts';

/** `requests`: those that run and those that wait. At least one for what is served at all. */
export function replicasWanted(requests: number, concurrency: number, scale: Pick<Scale, 'min' | 'max'>): number {
  const most = Math.max(1, scale.max);
  return Math.min(most, Math.max(1, scale.min, Math.ceil(requests / concurrency)));
}

/** The one with the least to do; of several the first, so that those behind it may become idle. */
export function leastBusy<T extends { readonly inFlight: number }>(replicas: readonly T[]): T | undefined {
  let best = replicas[0];
  for (let i = 1; i < replicas.length && best && best.inFlight > 0; i++) {
    const other = replicas[i] as T;
    if (other.inFlight < best.inFlight) best = other;
  }
  return best;
}
