import type { MemorySize } from '../../../../images/wasm/core-sections.ts';

/** A core module of a component's generated code, instrumented. */
export interface TranspiledModule {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** How many instances of it one instance of the component makes. */
  readonly instances: number;
  /** The memory that it imports from the host; null when it has none, or its own. */
  readonly memory: MemorySize | null;
  /**
   * The core module at the top level of the component that it was made from, whose data was taken out of `bytes` and the
   * size of whose memory holds instead of `memory`; null when it is all here.
   */
  readonly place: number | null;
}

/** What a component becomes: JavaScript and its core modules, without what they have in memory at the start. */
export interface Transpiled {
  /** The generated code, as a script (see glue.ts). */
  readonly glue: string;
  readonly modules: readonly TranspiledModule[];
  /** It serves every component of the same shape (component-shape.ts), since nothing in it is of this one alone. */
  readonly shared: boolean;
}

/** A core module of a component that is to be run. */
export interface LoadedModule {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** A module that fills the memory; null when `bytes` does. */
  readonly data: Uint8Array | null;
  readonly instances: number;
  /** The memory that it imports from the host; null when it has none, or its own. */
  readonly memory: MemorySize | null;
}

export interface LoadedComponent {
  readonly glue: string;
  readonly modules: readonly LoadedModule[];
}

/** Why a component cannot be transpiled: a row of the error table without the component's name. */
export type Refusal =
  | { readonly code: 'COMPONENT_INVALID' | 'IMPORT_NOT_OFFERED'; readonly why: string }
  | { readonly code: 'NOT_WASM' | 'CORE_MODULE' | 'NO_HTTP_HANDLER' | 'ENGINE_LACKS_P3' };

export type TranspileReply =
  | { readonly kind: 'transpiled'; readonly transpiled: Transpiled }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'failed'; readonly message: string };
