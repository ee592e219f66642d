/** The kinds of sandbox, the lightest first. */
export type Isolation = 'wasm' | 'container' | 'vm';

/** What holds for one instance, set or not. */
export interface Limits {
  /** All memory of an instance, in bytes. */
  readonly memoryBytes: number;
  /** 1000 is one core. */
  readonly cpuMillicores: number;
  /** From the arrival of a request to the end of its answer, in milliseconds. */
  readonly timeoutMs: number;
  /** CPU time that one request of a Wasm function may use, in milliseconds; left out: what fits before its deadline. */
  readonly cpuTimeMs?: number;
  /** From the start of an instance to its readiness, in milliseconds. */
  readonly startTimeoutMs: number;
  /** Requests at once: for Wasm per revision on the node, for containers and VMs per instance. */
  readonly concurrency: number;
  /** Largest body of a request and of an answer, in bytes. */
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
}

/** What a revision is made from: a blob in the node's content store. */
export interface Artifact {
  /** `sha256:` and 64 hex digits. */
  readonly digest: string;
  /** `application/wasm` for a component, a manifest's for an image. */
  readonly mediaType: string;
}

/** A folder that outlives the containers that have it. */
export interface Volume {
  readonly name: string;
  /** Absolute, inside. */
  readonly path: string;
  /** What it holds at most, in bytes; null: as it was made, or what a new one has when nothing is said. */
  readonly bytes: number | null;
}

/** An immutable version of a workload, named by a digest over everything below. */
export interface Revision {
  /** The first 12 hex digits of the digest; unique within its workload. */
  readonly id: string;
  readonly workload: string;
  readonly isolation: Isolation;
  readonly artifact: Artifact;
  readonly limits: Limits;
  /** 0-9, 9 the most urgent. */
  readonly priority: number;
  readonly env: Readonly<Record<string, string>>;
  /** Names of the secrets that it gets; their values are in no document of a workload. */
  readonly secrets: readonly string[];
  /** Where it may connect to: `HOST[:PORT]` each, in the one way of writing them (`runtime/egress/allow-list.ts`). */
  readonly allow: readonly string[];
  /** What the workload may keep in key-value storage, in bytes. */
  readonly keyvalueQuotaBytes: number;
  /** The TCP port that it listens on; left out: as its image says. Not for Wasm. */
  readonly port?: number;
  /** It is a process that need not speak HTTP, and is started once. Not for Wasm. */
  readonly process?: {
    /** In place of the image's command; empty: as the image says. */
    readonly arguments: readonly string[];
  };
  /** Folders that outlive its instances, which share them; left out: none. Not for Wasm. */
  readonly volumes?: readonly Volume[];
  /** When an instance is ready (`runtime/health/health-check.ts`); left out: when its port takes a connection. Not for Wasm. */
  readonly readyCheck?: string;
  /** Whether an instance is still well, and how often it is asked, in milliseconds; left out: it is not asked. Not for Wasm. */
  readonly liveCheck?: { readonly check: string; readonly everyMs: number };
  /** What a container may write over its image, in bytes; left out: nothing. */
  readonly writableBytes?: number;
  /** Digest of the kernel of a microVM, which is in the content store; left out: the node's own. */
  readonly kernel?: string;
  /**
   * What a microVM goes on from: `none`, it boots each time; `boot`, a machine that has booted; `app`, one whose workload was
   * ready. Left out: boot. Not for others.
   */
  readonly snapshot?: 'none' | 'boot' | 'app';
  /** How many requests one Wasm instance serves before it is replaced; 1 is a fresh one for each. */
  readonly reuse: number;
}
