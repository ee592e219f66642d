/** Which sandbox a workload gets. */

import { isManifestType } from '../../images/oci/index.ts';
import { workloadErrors } from '../workload/errors.ts';
import type { Isolation } from '../workload/revision.ts';

export interface Placement {
  readonly isolation: Isolation;
  /** For people: why. */
  readonly decision: string;
}

/** Media types that a component is known by. */
const WASM = 'application/wasm';

/**
 * The lightest sandbox that fits what the artifact is. `offered` are the isolations that this node has drivers for.
 * Throws ISOLATION_UNFIT when what was asked for cannot hold it.
 */
export function placeWorkload(
  requested: Isolation | 'auto',
  mediaType: string,
  offered: ReadonlySet<Isolation>,
): Placement {
  if (requested !== 'auto' && !offered.has(requested)) {
    throw workloadErrors.ISOLATION_UNFIT(requested, 'this node has no driver for it');
  }
  if (isManifestType(mediaType)) return placeImage(requested, offered);
  if (mediaType !== WASM) {
    throw workloadErrors.ISOLATION_UNFIT(requested, `no driver of this node runs artifacts of type ${mediaType}`);
  }
  if (requested === 'auto')
    return { isolation: 'wasm', decision: 'auto: a WebAssembly component, the lightest sandbox' };
  if (requested === 'wasm') return { isolation: 'wasm', decision: 'asked for' };
  throw workloadErrors.ISOLATION_UNFIT(requested, 'the artifact is a WebAssembly component');
}

/**
 * The next heavier sandbox for what keeps failing in one that the node chose: an image may run as a machine where it does
 * not as a container. Null where there is none, or where the sandbox was asked for.
 */
export function heavierThan(
  failed: Isolation,
  { decision, artifact }: { readonly decision: string; readonly artifact: { readonly mediaType: string } },
  offered: ReadonlySet<Isolation>,
): Isolation | null {
  const chosen = decision.startsWith('auto');
  return chosen && isManifestType(artifact.mediaType) && failed === 'container' && offered.has('vm') ? 'vm' : null;
}

function placeImage(requested: Isolation | 'auto', offered: ReadonlySet<Isolation>): Placement {
  if (requested === 'wasm') throw workloadErrors.ISOLATION_UNFIT(requested, 'the artifact is a container image');
  if (requested !== 'auto') return { isolation: requested, decision: 'asked for' };
  if (offered.has('container')) {
    return { isolation: 'container', decision: 'auto: a container image, and no more than a container was asked for' };
  }
  if (offered.has('vm'))
    return { isolation: 'vm', decision: 'auto: a container image, and this node runs no containers' };
  throw workloadErrors.ISOLATION_UNFIT(requested, 'the artifact is a container image, and this node runs none');
}
