/**
 * What a guest's worker asks of the main thread for its guest, and what it is answered: outbound requests, and operations
 * on stored keys. Each call has a number of its own within the run.
 */
import type { EgressErrorKind, EgressRequest } from '../../../egress/egress.ts';
import type { FlatHeaders } from '../../../exchange.ts';
import type { KeyValueNamespace } from '../../../keyvalue/keyvalue.ts';
import type { KeyValueFailure } from '../keyvalue-failure.ts';

/** Bytes of an outbound request's body that may be on their way through the main thread; more waits in the guest. */
export const uploadWindow = 128 * 1024;
/** Bytes of its answer that may wait for the guest. A function holds many answers at once, and they are the node's memory. */
export const downloadWindow = 64 * 1024;

/** What the worker says of an outbound request. */
export type OutboundAsk =
  /** Begins it; `whole`: `data` is all of its body. */
  | {
      readonly what: 'send';
      readonly head: Omit<EgressRequest, 'body'>;
      readonly data: Uint8Array | null;
      readonly whole: boolean;
    }
  | { readonly what: 'body'; readonly data: Uint8Array | null; readonly whole: boolean }
  /** The guest left the body unfinished. */
  | { readonly what: 'broken' }
  /** So many bytes of the answer were read by the guest. */
  | { readonly what: 'read'; readonly bytes: number }
  /** The guest does not want the answer any more. */
  | { readonly what: 'cancel' };

/** What the main thread says of it. Nothing follows `end` and `fail`. */
export type OutboundAnswer =
  | { readonly what: 'head'; readonly status: number; readonly headers: FlatHeaders }
  | { readonly what: 'chunk'; readonly data: Uint8Array }
  | { readonly what: 'end'; readonly trailers: FlatHeaders | null }
  | { readonly what: 'fail'; readonly kind: EgressErrorKind }
  /** So many bytes of the request's body were taken. */
  | { readonly what: 'taken'; readonly bytes: number }
  /** No more of it will be. */
  | { readonly what: 'unwanted' };

export type KeyValueMethod = keyof KeyValueNamespace;

/** A call of the function's namespace, as runtime/keyvalue/keyvalue.ts has it. */
export type KeyValueAsk = {
  [Method in KeyValueMethod]: { readonly method: Method; readonly args: Parameters<KeyValueNamespace[Method]> };
}[KeyValueMethod];

export type KeyValueAnswer =
  | { readonly done: true; readonly value: unknown }
  | { readonly done: false; readonly failure: KeyValueFailure };

export type GuestCall =
  | { readonly kind: 'outbound'; readonly run: number; readonly call: number; readonly ask: OutboundAsk }
  | { readonly kind: 'keyvalue'; readonly run: number; readonly call: number; readonly ask: KeyValueAsk };

export type GuestCallAnswer =
  | { readonly kind: 'outbound'; readonly run: number; readonly call: number; readonly answer: OutboundAnswer }
  | { readonly kind: 'keyvalue'; readonly run: number; readonly call: number; readonly answer: KeyValueAnswer };
