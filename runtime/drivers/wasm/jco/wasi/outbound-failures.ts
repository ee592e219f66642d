/** How outbound requests of a run failed, for functions built from JavaScript: their engine keeps that from them. */
import type { EgressErrorKind } from '../../../../egress/egress.ts';
import { currentRunOrNull } from './current-run.ts';

/** Origins of which a run remembers the last failure (as in native/wasm/src/failures.rs). */
const mostOrigins = 32;

export class OutboundFailures {
  /** The oldest first. */
  readonly #kinds = new Map<string, EgressErrorKind>();

  note(origin: string, kind: EgressErrorKind): void {
    this.#kinds.delete(origin);
    if (this.#kinds.size === mostOrigins) this.#kinds.delete(this.#kinds.keys().next().value!);
    this.#kinds.set(origin, kind);
  }

  lastOf(origin: string): EgressErrorKind | undefined {
    return this.#kinds.get(origin);
  }
}

export const outboundFailures = {
  'skerry:function/outbound': { lastFailure: (origin: string) => currentRunOrNull()?.calls.failures.lastOf(origin) },
};
