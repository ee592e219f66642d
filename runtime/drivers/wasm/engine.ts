/** The contract of the two Wasm engines: wasmtime (native/wasm) and jco (worker threads). Same tests over both. */
import type { InstanceStats } from '../../driver.ts';
import type { EgressClient } from '../../egress/egress.ts';
import type { Exchange } from '../../exchange.ts';
import type { KeyValueNamespace } from '../../keyvalue/keyvalue.ts';
import type { Discipline } from '../../scheduler/admission/discipline.ts';
import type { Limits } from '../../workload/revision.ts';

export type EngineName = 'wasmtime' | 'jco';

/** A component in the content store: the file is complete and its digest was verified. */
export interface ComponentFile {
  /** `sha256:` and 64 hex digits. */
  readonly digest: string;
  readonly path: string;
}

/** One piece of what a guest wrote to its stdout or stderr; not necessarily whole lines. */
export interface GuestOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly requestId: string;
  readonly data: Uint8Array;
}

export interface FunctionSettings {
  /** `NAME@REVISION`, for messages. */
  readonly label: string;
  /** Whose share of the CPU time it takes; functions of one workload share it. Those without a name have one alone. */
  readonly workload?: string;
  /** 0-9, 9 the most urgent. Default 5. */
  readonly priority?: number;
  readonly limits: Limits;
  readonly env: Readonly<Record<string, string>>;
  /** What wasi:config answers: the environment and the secrets, by name. Secrets are in nothing else. */
  readonly config: Readonly<Record<string, string>>;
  /** Outbound requests. Open until the function is closed; who loads the function closes it then. */
  readonly egress: EgressClient;
  /** What wasi:keyvalue works on. */
  readonly keyvalue: KeyValueNamespace;
  readonly reuse: number;
  readonly output: (piece: GuestOutput) => void;
}

export interface EngineOptions {
  /** A private folder for compiled code; made if missing. */
  readonly cacheDir: string;
  /** 32 bytes known to this node alone: what is loaded from `cacheDir` must carry a tag made with it. */
  readonly cacheKey: Uint8Array;
  /** Whose turn it is when guests want more CPU time than there is. Default slice; on jco the kernel decides. */
  readonly discipline?: Discipline;
  /** Threads that run guests. Default: one for each core, and at least two. jco has its own number. */
  readonly threads?: number;
  /** Engine warnings for the node's log. */
  readonly warn: (message: string) => void;
}

export interface WasmEngine {
  readonly name: EngineName;
  /** For people: "wasmtime 48.0.8". */
  readonly version: string;
  /**
   * Compiles into the cache; a no-op when that is there and authentic. Throws a SkerryError of
   * `runtime/drivers/wasm/errors.ts` when the component is not valid or cannot run on this engine.
   */
  compile(component: ComponentFile): Promise<void>;
  /** Makes a compiled component callable (compiles it when it is not). */
  load(component: ComponentFile, settings: FunctionSettings): Promise<WasmFunction>;
  /** Drops what `compile` has put into the cache for this digest. */
  forget(digest: string): Promise<void>;
  /** Bytes of memory that places for instances keep while nobody uses them. */
  keptBytes(): number;
  close(): Promise<void>;
}

export interface WasmFunction {
  /**
   * Runs the guest for one exchange, in a fresh instance unless `reuse` says otherwise. The deadline is
   * `exchange.deadline`, the memory limit is that of the settings; both hold during instantiation too.
   * Resolves when the answer is complete; rejects with a SkerryError (status 500, 504 past the deadline).
   */
  handle(exchange: Exchange): Promise<void>;
  stats(): InstanceStats;
  /** Ends what still runs and frees the code. Idempotent. */
  close(): Promise<void>;
}
