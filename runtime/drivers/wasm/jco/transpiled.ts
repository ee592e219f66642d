import type { GivenMemory } from './wasm-instrument.ts';

/** What a component becomes: JavaScript, and its core modules, instrumented. */
export interface TranspiledModule {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** How many instances of it one instance of the component makes. */
  readonly instances: number;
  /** The memory that it imports from the host; null when it has none, or its own. */
  readonly memory: GivenMemory | null;
}

export interface Transpiled {
  /** The generated code, as a script (see glue.ts). */
  readonly glue: string;
  readonly modules: readonly TranspiledModule[];
}

/** Why a component cannot be transpiled: a row of the error table without the component's name. */
export type Refusal =
  | { readonly code: 'COMPONENT_INVALID' | 'IMPORT_NOT_OFFERED'; readonly why: string }
  | { readonly code: 'NOT_WASM' | 'CORE_MODULE' | 'NO_HTTP_HANDLER' | 'ENGINE_LACKS_P3' };

export type TranspileReply =
  | { readonly kind: 'transpiled'; readonly transpiled: Transpiled }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'failed'; readonly message: string };
