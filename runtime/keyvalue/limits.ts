/** Bounds of key-value storage, in bytes unless said otherwise. */
const KiB = 1024;
const MiB = 1024 * KiB;

export const KEYVALUE_LIMITS = {
  /** LMDB takes keys of up to 1978 bytes; the workload's and the bucket's name are in them too. */
  keyBytes: KiB,
  bucketBytes: 128,
  /** A value is held in memory whole, by the node and by the function. */
  valueBytes: MiB,
  /** Keys of one batch, and the bytes that it moves. */
  batchKeys: 1000,
  batchBytes: 16 * MiB,
  /** What an entry counts for in the quota beside its key, its bucket's name and its value: roughly what it takes more. */
  entryBytes: 64,
  /** One page of a listing ends at the first of these. */
  pageKeys: 1000,
  pageBytes: 64 * KiB,
} as const;
