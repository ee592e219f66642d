/**
 * What the node's main thread and a guest's worker thread say to each other. A worker runs one request at a time and
 * may be blocked in it, so it reads its port by hand; cells of shared memory carry what must not need a message.
 */
import type { FlatHeaders } from '../../../exchange.ts';
import type { OutboundGrant } from '../outbound-grant.ts';
import type { GuestCall, GuestCallAnswer } from './guest-call-protocol.ts';

/** Cells of the shared `Int32Array` of a worker. */
export const cell = {
  /** Changes with every message and every other cell written by the main thread; the worker waits on it. */
  bell: 0,
  /** Bytes of the answer's body that the client's side has taken, modulo 2^32. */
  taken: 1,
  /** Number of the run whose client has gone. */
  gone: 2,
  /** 1 while the guest waits for something outside, so that its core is free for another. */
  waiting: 3,
  /** Of the present run, in microseconds: how long the guest has run up to its last wait, when it went on after that. */
  busy: 4,
  resumed: 5,
  /** How long it took to make the instance of the present run, in microseconds, or one of `making`. */
  making: 6,
  /** Pages of memories that the worker keeps for instances to come. */
  kept: 7,
} as const;
export const cellCount = 8;

/** The instance of a run has served before; or is not made yet. */
export const making = { notBegun: -2, reused: -1, underWay: 0 } as const;

/** Bytes of a page of memory. */
export const pageBytes = 65_536;

/** Bytes of a body on the way between the threads at most, each way. */
export const bodyWindow = 256 * 1024;
/** What a piece of an answer counts beside its bytes, so that a window of single bytes is no flood of messages. */
export const pieceCost = 512;
/** Bytes of the largest body that travels inside the message that starts or ends a request. */
export const smallBody = 64 * 1024;
/** Bytes of output kept from a guest for one request. */
export const outputLimit = 64 * 1024;

/** The bytes in a buffer of their own: a view's whole buffer would travel with it, and a Buffer shares its own with others. */
export function exactCopy(data: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.prototype.slice.call(data) as Uint8Array<ArrayBuffer>;
}

export interface WorkerData {
  readonly cells: Int32Array;
}

export interface RequestHead {
  readonly id: string;
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly target: string;
  readonly headers: FlatHeaders;
}

/** A compiled core module. */
export interface CodeModule {
  readonly name: string;
  readonly module: WebAssembly.Module;
  /** Fills the memory of an instance, before anything in it runs; null when `module` does that itself. */
  readonly data: WebAssembly.Module | null;
  /** So many instances of it make one of the component. */
  readonly instances: number;
  /** The memory that each imports from the host, in pages of 64 KiB. */
  readonly memory: { readonly initial: number; readonly maximum: number } | null;
}

/** The code of a function: what a worker needs before its first run of it. */
export interface CodeMessage {
  readonly kind: 'code';
  readonly code: number;
  /** Digest of the component: functions that share one share its generated code in a worker. */
  readonly component: string;
  /** The generated JavaScript, as a script; null when the worker has that of the component already. */
  readonly glue: string | null;
  readonly modules: readonly CodeModule[];
  readonly env: readonly (readonly [string, string])[];
  /** What wasi:config tells it. */
  readonly config: readonly (readonly [string, string])[];
  readonly outbound: OutboundGrant;
  /** The limit of memory of an instance, in bytes. */
  readonly memoryBytes: number;
  /** Requests that one instance serves. */
  readonly reuse: number;
}

export interface RunMessage {
  readonly kind: 'run';
  readonly run: number;
  readonly code: number;
  readonly head: RequestHead;
  /** Null: none. A whole small body; or 'stream': it comes in messages of its own. */
  readonly body: Uint8Array | 'stream' | null;
  readonly trailers: FlatHeaders | null;
}

export type ToWorker =
  | CodeMessage
  | RunMessage
  | GuestCallAnswer
  | { readonly kind: 'drop'; readonly code: number }
  | { readonly kind: 'chunk'; readonly run: number; readonly data: Uint8Array }
  | { readonly kind: 'end'; readonly run: number; readonly trailers: FlatHeaders | null }
  | { readonly kind: 'broken'; readonly run: number };

/** Why a run failed, as a row of the error table and its argument (of FUNCTION_EXITED the status). */
export interface Failure {
  readonly code:
    | 'FUNCTION_TRAPPED'
    | 'FUNCTION_EXITED'
    | 'FUNCTION_NO_ANSWER'
    | 'FUNCTION_BAD_ANSWER'
    | 'FUNCTION_ERROR'
    | 'FUNCTION_MEMORY'
    /** It returned in the middle of its answer's body: what it said tells why. */
    | 'UNFINISHED';
  readonly why: string;
}

/** What one run took. */
export interface RunFigures {
  /** Milliseconds in which the guest ran and did not wait: where cores are scarce, also those it waited for one in. */
  readonly busyMs: number;
  /** Milliseconds to make the run's instance; null when it had served before, or was never made. */
  readonly makingMs: number | null;
  readonly reused: boolean;
}

export interface DoneMessage extends RunFigures {
  readonly kind: 'done';
  readonly run: number;
  readonly failure: Failure | null;
  /** Bytes of all memories of the instance at the end. */
  readonly memoryBytes: number;
}

export type FromWorker =
  /** `thread`: its id with the system, 0 where that is not known. */
  | { readonly kind: 'ready'; readonly thread: number }
  | DoneMessage
  | GuestCall
  | { readonly kind: 'informational'; readonly run: number; readonly status: number; readonly headers: FlatHeaders }
  /** The answer's head, with what there is of its body; `end` when that is all. */
  | {
      readonly kind: 'answer';
      readonly run: number;
      readonly status: number;
      readonly headers: FlatHeaders;
      readonly data: Uint8Array | null;
      readonly end: boolean;
      readonly trailers: FlatHeaders | null;
    }
  | { readonly kind: 'piece'; readonly run: number; readonly data: Uint8Array }
  | {
      readonly kind: 'finish';
      readonly run: number;
      readonly data: Uint8Array | null;
      readonly trailers: FlatHeaders | null;
    }
  /** The guest waits for something: what it has given of its answer goes out now. At most once a run. */
  | { readonly kind: 'waits'; readonly run: number }
  /** So many bytes of the request's body were read by the guest. */
  | { readonly kind: 'read'; readonly run: number; readonly bytes: number }
  /** The guest wants no more of the request's body. */
  | { readonly kind: 'unread'; readonly run: number }
  | { readonly kind: 'output'; readonly run: number; readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array };
