/**
 * The desired state of a node: small JSON documents under string keys, each with a generation. Whoever changes a
 * document says which generation it has seen, so that two writers never overwrite each other unawares. The interface
 * is small on purpose: a fleet will replicate the same documents by other means.
 */
import type { SkerryError } from '../../errors/skerry-error.ts';

export interface Document<T = unknown> {
  readonly key: string;
  /** Grows with each change of the document, also when it is deleted and made again. Never 0. */
  readonly generation: number;
  readonly value: T;
}

/** `expect` is the generation that the writer has seen; 0: the document must not exist. */
export type Write =
  | { readonly key: string; readonly expect: number; readonly value: unknown; readonly delete?: false }
  | { readonly key: string; readonly expect: number; readonly delete: true };

export interface StateStore {
  /** Null when there is none. The value is a fresh copy. Throws STATE_CORRUPT when the record fails its checksum. */
  get<T = unknown>(key: string): Document<T> | null;
  /**
   * The documents whose key begins with `prefix`, in the order of their keys. Throws STATE_CORRUPT at the first damaged
   * record, unless `onCorrupt` is given: then it gets the error, and the others are returned.
   */
  list<T = unknown>(prefix: string, onCorrupt?: (key: string, error: SkerryError) => void): Document<T>[];
  /**
   * Makes all changes of one call, or none of them. Resolves when they would survive a power cut, with the generation
   * each document now has (0 for a deleted one), in the order of `writes`: `expect + 1`, or more for a document that is
   * made anew. Throws STATE_CONFLICT naming the key, STATE_DISK_FULL, STATE_WRITE_FAILED: then nothing was changed.
   * STATE_WRITE_FAILED after a disk error may leave the change made: read it again before you repeat it.
   */
  commit(writes: readonly Write[]): Promise<number[]>;
  /** Calls `onChange` with the changed keys that begin with `prefix` after each commit of this process. Returns the function that ends it. */
  watch(prefix: string, onChange: (keys: string[]) => void): () => void;
  /** Waits for the commits under way. Idempotent. */
  close(): Promise<void>;
}
