/**
 * The contract of key-value storage: the namespace of one workload, as its engine sees it. It carries both versions of
 * wasi:keyvalue that guests are built against (0.2.0-draft and 0.2.0-draft2).
 *
 * A method throws, or rejects with, a SkerryError of `errors.ts`. For wasi:keyvalue KEYVALUE_BUCKET_INVALID is
 * `no-such-store`; every other code is `other` with the error's `what`.
 */

/** A value and the version it was read at. Versions grow with each write and are never used again. */
export interface VersionedValue {
  /** Null when there is none. */
  readonly value: Uint8Array | null;
  /** 0n when there is no value. */
  readonly version: bigint;
}

/** Where a listing goes on: behind the last key listed (draft2), or behind so many keys as were listed (draft). */
export type KeyCursor = { readonly after: string } | { readonly position: number };

export interface KeyPage {
  /** In the order of their UTF-8 bytes. */
  readonly keys: readonly string[];
  /** There are keys behind these. */
  readonly more: boolean;
}

/**
 * The storage of one workload: buckets of keys. A bucket is there as soon as it is named and needs no making. Reads are
 * served at once and see every write that was acknowledged. A write resolves when it would survive a power cut; each call
 * is all or nothing.
 */
export interface KeyValueNamespace {
  /** Throws KEYVALUE_BUCKET_INVALID when no bucket can have this name. */
  checkBucket(bucket: string): void;
  get(bucket: string, key: string): Uint8Array | null;
  exists(bucket: string, key: string): boolean;
  /** In the order of `keys`; null where there is no value. */
  getMany(bucket: string, keys: readonly string[]): (Uint8Array | null)[];
  /** One page of a bucket's keys; from the beginning when the cursor is null. */
  listKeys(bucket: string, cursor: KeyCursor | null): KeyPage;
  /** What a compare-and-swap starts from. */
  read(bucket: string, key: string): VersionedValue;
  set(bucket: string, key: string, value: Uint8Array): Promise<void>;
  setMany(bucket: string, entries: readonly (readonly [key: string, value: Uint8Array])[]): Promise<void>;
  delete(bucket: string, key: string): Promise<void>;
  deleteMany(bucket: string, keys: readonly string[]): Promise<void>;
  /**
   * Adds to a number, which is a missing key's 0 or was made by `increment`: decimal digits as text. Resolves to the sum.
   * Rejects with KEYVALUE_NOT_A_NUMBER, also when the sum leaves `type`.
   */
  increment(bucket: string, key: string, delta: bigint, type: 'u64' | 's64'): Promise<bigint>;
  /** Puts `value` when the key is still at `version`. Resolves to false, with nothing changed, when it is not. */
  swap(bucket: string, key: string, version: bigint, value: Uint8Array): Promise<boolean>;
}
