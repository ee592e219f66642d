import type { RawWrite } from '../state/environment.ts';
import { formatBytes } from '../workload/units.ts';
import { keyvalueErrors } from './errors.ts';
import { bucketPrefix, charge, usageKey } from './layout.ts';
import { decodeValue, encodeValue, type StoredValue, valueBytes } from './record.ts';

/** Records by LMDB key: those of the environment, or those as they will be when earlier operations are written. */
export type Read = (key: string) => Buffer | undefined;

/** Which namespace an operation works in. */
export interface Scope {
  readonly workload: string;
  readonly quotaBytes: number;
}

/** One change of a namespace; what `run` throws is the caller's. */
export interface Operation<T> {
  readonly scope: Scope;
  /** Of the values it writes: bounds what is written at once. */
  readonly bytes: number;
  readonly onlyRemoves: boolean;
  readonly run: (transaction: Transaction) => T;
}

/** Bytes that a namespace counts for, and the version of its last write. */
interface Usage {
  bytes: number;
  version: bigint;
}

function readUsage(key: string, record: Buffer | undefined): Usage {
  if (!record) return { bytes: 0, version: 0n };
  const { value, version } = decodeValue(key, record);
  return { bytes: Number(value.readBigUInt64BE(0)), version };
}

function encodeUsage(key: string, { bytes, version }: Usage): Buffer {
  const value = Buffer.alloc(8);
  value.writeBigUInt64BE(BigInt(bytes));
  return encodeValue(key, version, value);
}

/** The changes of one operation: seen by itself at once, by others when it is done. */
export class Transaction {
  readonly #read: Read;
  readonly #scope: Scope;
  readonly #writes = new Map<string, Buffer | null>();
  readonly #usage: Usage;
  readonly #before: number;

  constructor(read: Read, scope: Scope) {
    this.#read = read;
    this.#scope = scope;
    const key = usageKey(scope.workload);
    this.#usage = readUsage(key, read(key));
    this.#before = this.#usage.bytes;
    // Every value that one operation writes has the same version, and no other operation's has it.
    this.#usage.version++;
  }

  get(bucket: string, key: string): StoredValue | null {
    const place = this.#place(bucket, key);
    const record = this.#writes.has(place) ? this.#writes.get(place) : this.#read(place);
    return record ? decodeValue(place, record) : null;
  }

  put(bucket: string, key: string, value: Uint8Array): void {
    const place = this.#place(bucket, key);
    this.#usage.bytes += charge(bucket, key, value.byteLength) - this.#chargeNow(bucket, key);
    this.#writes.set(place, encodeValue(place, this.#usage.version, value));
  }

  remove(bucket: string, key: string): void {
    const now = this.#chargeNow(bucket, key);
    if (now === 0) return;
    this.#usage.bytes -= now;
    this.#writes.set(this.#place(bucket, key), null);
  }

  /** What to write. Throws KEYVALUE_QUOTA; making room is possible above the quota too. */
  finish(): RawWrite[] {
    if (this.#writes.size === 0) return [];
    const { bytes } = this.#usage;
    const { workload, quotaBytes } = this.#scope;
    if (bytes > quotaBytes && bytes > this.#before) throw keyvalueErrors.KEYVALUE_QUOTA(formatBytes(quotaBytes));
    const key = usageKey(workload);
    return [...this.#writes, [key, encodeUsage(key, this.#usage)] as const].map(([place, value]) => ({
      key: place,
      value,
    }));
  }

  #place(bucket: string, key: string): string {
    return bucketPrefix(this.#scope.workload, bucket) + key;
  }

  /** 0 when there is no such entry. A damaged value counts by its length: it can be replaced and removed. */
  #chargeNow(bucket: string, key: string): number {
    const place = this.#place(bucket, key);
    const record = this.#writes.has(place) ? this.#writes.get(place) : this.#read(place);
    return record ? charge(bucket, key, valueBytes(record)) : 0;
  }
}
