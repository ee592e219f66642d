import type { KeyValueStore } from '../runtime/keyvalue/store.ts';
import type { DesiredState } from '../runtime/workload/desired-state.ts';
import { workloadKey } from '../runtime/workload/documents.ts';

/**
 * Removes what workloads stored that are not there any more: the node may have stopped before it did. A workload whose
 * document is damaged is not known to be gone.
 */
export async function sweepKeyValue(
  keyvalue: KeyValueStore,
  desired: DesiredState,
  damaged: ReadonlySet<string>,
): Promise<void> {
  for (const name of keyvalue.workloads()) {
    if (!desired.get(name) && !damaged.has(workloadKey(name))) await keyvalue.remove(name);
  }
}
