/** Where things are in the environment: keys of LMDB, as text. */
import { keyvalueErrors } from './errors.ts';
import { KEYVALUE_LIMITS } from './limits.ts';

/** A namespace that holds something: what it counts for, and its version (`usage.ts`). */
export const USAGE = 'u/';
/** A value: `d/WORKLOAD NUL BUCKET NUL KEY`. */
const DATA = 'd/';

export const FORMAT_KEY = 'm/format';

export function usageKey(workload: string): string {
  return `${USAGE}${workload}`;
}

export function workloadPrefix(workload: string): string {
  return `${DATA}${workload}\0`;
}

export function bucketPrefix(workload: string, bucket: string): string {
  return `${workloadPrefix(workload)}${bucket}\0`;
}

/** The first text that is behind every key with this prefix, which ends in ASCII. */
export function behind(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

/** Half of a pair: it has no UTF-8. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Throws KEYVALUE_BUCKET_INVALID. */
export function checkBucket(bucket: string): void {
  if (LONE_SURROGATE.test(bucket)) throw keyvalueErrors.KEYVALUE_BUCKET_INVALID('it is not Unicode text');
  if (bucket.includes('\0')) throw keyvalueErrors.KEYVALUE_BUCKET_INVALID('it has a NUL in it');
  const bytes = Buffer.byteLength(bucket);
  if (bytes > KEYVALUE_LIMITS.bucketBytes) throw keyvalueErrors.KEYVALUE_BUCKET_INVALID(`it has ${bytes} bytes`);
}

/** Throws KEYVALUE_KEY_INVALID. */
export function checkKey(key: string): void {
  if (key === '') throw keyvalueErrors.KEYVALUE_KEY_INVALID('is empty');
  if (LONE_SURROGATE.test(key)) throw keyvalueErrors.KEYVALUE_KEY_INVALID('is not Unicode text');
  const bytes = Buffer.byteLength(key);
  if (bytes > KEYVALUE_LIMITS.keyBytes) throw keyvalueErrors.KEYVALUE_KEY_INVALID(`has ${bytes} bytes`);
}

/** What an entry counts for in the quota. */
export function charge(bucket: string, key: string, valueBytes: number): number {
  return Buffer.byteLength(bucket) + Buffer.byteLength(key) + valueBytes + KEYVALUE_LIMITS.entryBytes;
}
