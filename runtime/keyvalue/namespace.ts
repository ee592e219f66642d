import type { Environment } from '../state/environment.ts';
import { keyvalueErrors } from './errors.ts';
import type { KeyCursor, KeyPage, KeyValueNamespace, VersionedValue } from './keyvalue.ts';
import { behind, bucketPrefix, checkBucket, checkKey } from './layout.ts';
import { KEYVALUE_LIMITS } from './limits.ts';
import { decodeValue, type StoredValue } from './record.ts';
import type { Operation, Scope, Transaction } from './transaction.ts';

/** What a namespace stands on. */
export interface Backing {
  reading<T>(read: (environment: Environment) => T): T;
  change<T>(operation: Operation<T>): Promise<T>;
}

const RANGES = {
  u64: [0n, 2n ** 64n - 1n],
  s64: [-(2n ** 63n), 2n ** 63n - 1n],
} as const;

export class Namespace implements KeyValueNamespace {
  readonly #scope: Scope;
  readonly #backing: Backing;

  constructor(scope: Scope, backing: Backing) {
    this.#scope = scope;
    this.#backing = backing;
  }

  checkBucket(bucket: string): void {
    checkBucket(bucket);
  }

  get(bucket: string, key: string): Uint8Array | null {
    return this.#stored(bucket, key)?.value ?? null;
  }

  exists(bucket: string, key: string): boolean {
    return this.#stored(bucket, key) !== null;
  }

  getMany(bucket: string, keys: readonly string[]): (Uint8Array | null)[] {
    checkCount(keys.length);
    let bytes = 0;
    return keys.map((key) => {
      const value = this.get(bucket, key);
      bytes += value?.byteLength ?? 0;
      checkBytes(bytes);
      return value;
    });
  }

  listKeys(bucket: string, cursor: KeyCursor | null): KeyPage {
    checkBucket(bucket);
    const prefix = bucketPrefix(this.#scope.workload, bucket);
    const { start, skip } = placeOf(prefix, cursor);
    // One more than fits tells whether there are more.
    const found = this.#backing.reading((environment) => [
      ...environment.keys(start, behind(prefix), skip, KEYVALUE_LIMITS.pageKeys + 1),
    ]);
    const keys: string[] = [];
    let bytes = 0;
    for (const key of found.slice(0, KEYVALUE_LIMITS.pageKeys)) {
      const own = key.slice(prefix.length);
      bytes += Buffer.byteLength(own);
      if (keys.length > 0 && bytes > KEYVALUE_LIMITS.pageBytes) break;
      keys.push(own);
    }
    return { keys, more: keys.length < found.length };
  }

  read(bucket: string, key: string): VersionedValue {
    return this.#stored(bucket, key) ?? { value: null, version: 0n };
  }

  set(bucket: string, key: string, value: Uint8Array): Promise<void> {
    return this.setMany(bucket, [[key, value]]);
  }

  async setMany(bucket: string, entries: readonly (readonly [key: string, value: Uint8Array])[]): Promise<void> {
    checkBucket(bucket);
    checkCount(entries.length);
    let bytes = 0;
    for (const [key, value] of entries) {
      checkKey(key);
      checkValue(value);
      bytes += value.byteLength;
    }
    checkBytes(bytes);
    await this.#change(bytes, (transaction) => {
      for (const [key, value] of entries) transaction.put(bucket, key, value);
    });
  }

  delete(bucket: string, key: string): Promise<void> {
    return this.deleteMany(bucket, [key]);
  }

  async deleteMany(bucket: string, keys: readonly string[]): Promise<void> {
    checkBucket(bucket);
    checkCount(keys.length);
    for (const key of keys) checkKey(key);
    const run = (transaction: Transaction) => {
      for (const key of keys) transaction.remove(bucket, key);
    };
    await this.#backing.change({ scope: this.#scope, bytes: 0, onlyRemoves: true, run });
  }

  async increment(bucket: string, key: string, delta: bigint, type: 'u64' | 's64'): Promise<bigint> {
    checkBucket(bucket);
    checkKey(key);
    return this.#change(0, (transaction) => {
      const found = transaction.get(bucket, key);
      const sum = (found ? numberOf(found.value) : 0n) + delta;
      const [least, most] = RANGES[type];
      if (sum < least || sum > most) throw keyvalueErrors.KEYVALUE_NOT_A_NUMBER(`the sum is no ${type}`);
      transaction.put(bucket, key, Buffer.from(String(sum)));
      return sum;
    });
  }

  async swap(bucket: string, key: string, version: bigint, value: Uint8Array): Promise<boolean> {
    checkBucket(bucket);
    checkKey(key);
    checkValue(value);
    return this.#change(value.byteLength, (transaction) => {
      if ((transaction.get(bucket, key)?.version ?? 0n) !== version) return false;
      transaction.put(bucket, key, value);
      return true;
    });
  }

  #stored(bucket: string, key: string): StoredValue | null {
    checkBucket(bucket);
    checkKey(key);
    const place = bucketPrefix(this.#scope.workload, bucket) + key;
    return this.#backing.reading((environment) => {
      const record = environment.get(place);
      return record ? decodeValue(place, record) : null;
    });
  }

  #change<T>(bytes: number, run: (transaction: Transaction) => T): Promise<T> {
    return this.#backing.change({ scope: this.#scope, bytes, onlyRemoves: false, run });
  }
}

function placeOf(prefix: string, cursor: KeyCursor | null): { start: string; skip: number } {
  if (cursor === null) return { start: prefix, skip: 0 };
  if ('position' in cursor) return { start: prefix, skip: cursor.position };
  checkKey(cursor.after);
  // The next text in order is the same with a NUL behind it.
  return { start: `${prefix}${cursor.after}\0`, skip: 0 };
}

function checkCount(count: number): void {
  if (count > KEYVALUE_LIMITS.batchKeys) throw keyvalueErrors.KEYVALUE_BATCH_TOO_LARGE(`it has ${count} keys`);
}

function checkBytes(bytes: number): void {
  if (bytes > KEYVALUE_LIMITS.batchBytes) throw keyvalueErrors.KEYVALUE_BATCH_TOO_LARGE(`it has over ${bytes} bytes`);
}

function checkValue({ byteLength }: Uint8Array): void {
  if (byteLength > KEYVALUE_LIMITS.valueBytes) throw keyvalueErrors.KEYVALUE_VALUE_TOO_LARGE(byteLength);
}

/** Throws KEYVALUE_NOT_A_NUMBER. */
function numberOf(value: Buffer): bigint {
  const text = value.toString('latin1');
  if (!/^-?\d{1,20}$/.test(text)) throw keyvalueErrors.KEYVALUE_NOT_A_NUMBER('it is not a whole number in digits');
  return BigInt(text);
}
