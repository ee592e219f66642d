/**
 * The modules that a function written in TypeScript or JavaScript may import beside its own packages. Their calls return
 * when they are done: a function has an instance to itself, which may wait. What fails throws an Error whose `payload` is
 * the failure.
 *
 * Each bucket and each `Cas` is a handle of the node's; the engine lets go of it when the request ends, or at once by
 * `[Symbol.dispose]()`.
 */

/** The configuration: what `--env` and `--secret` give, by name. The second argument of `fetch` has the same. */
declare module 'wasi:config/store@0.2.0-rc.1' {
  export function get(name: string): string | undefined;
  export function getAll(): [name: string, value: string][];
}

/** The storage of the workload: buckets of keys, kept across its revisions. */
declare module 'wasi:keyvalue/store@0.2.0-draft2' {
  export type StoreError =
    /** No bucket can have this name: at most 128 bytes of text without NUL. */
    | { tag: 'no-such-store' }
    | { tag: 'access-denied' }
    /** What was wrong, such as a full quota. */
    | { tag: 'other'; val: string };

  export interface KeyPage {
    keys: string[];
    /** For the next page; undefined on the last one. */
    cursor: string | undefined;
  }

  export class Bucket {
    private constructor();
    get(key: string): Uint8Array | undefined;
    /** Returns when it would survive a power cut. At most 1 MiB. */
    set(key: string, value: Uint8Array): void;
    delete(key: string): void;
    exists(key: string): boolean;
    /** In the order of their UTF-8 bytes, at most 1000 at once. */
    listKeys(cursor: string | undefined): KeyPage;
  }

  /** A bucket is there as soon as it is named. */
  export function open(name: string): Bucket;
}

declare module 'wasi:keyvalue/atomics@0.2.0-draft2' {
  import type { Bucket, StoreError } from 'wasi:keyvalue/store@0.2.0-draft2';

  /** What `swap` throws as the `payload`; `cas-failed` has a fresh handle to try again with. */
  export type CasError = { tag: 'store-error'; val: StoreError } | { tag: 'cas-failed'; val: Cas };

  /** A compare-and-swap, from the value that the key had when it was looked at last. */
  export class Cas {
    private constructor();
    // biome-ignore lint/suspicious/noMisleadingInstantiator: the name is that of the WIT
    static new(bucket: Bucket, key: string): Cas;
    current(): Uint8Array | undefined;
  }

  /** Adds to a number kept as decimal digits; a missing key is 0. Gives the sum. */
  export function increment(bucket: Bucket, key: string, delta: bigint): bigint;
  /** Puts the value unless somebody wrote the key in between. */
  export function swap(cas: Cas, value: Uint8Array): void;
}

/** Each call is all or nothing, of at most 1000 keys. */
declare module 'wasi:keyvalue/batch@0.2.0-draft2' {
  import type { Bucket } from 'wasi:keyvalue/store@0.2.0-draft2';

  export function getMany(bucket: Bucket, keys: string[]): ([key: string, value: Uint8Array] | undefined)[];
  export function setMany(bucket: Bucket, entries: [key: string, value: Uint8Array][]): void;
  export function deleteMany(bucket: Bucket, keys: string[]): void;
}

/** Lines with a level and a context, in the log of the workload. `console` writes there as well. */
declare module 'wasi:logging/logging@0.1.0-draft' {
  export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'critical';
  export function log(level: Level, context: string, message: string): void;
}
