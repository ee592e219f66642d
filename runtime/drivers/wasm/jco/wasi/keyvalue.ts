/** wasi:keyvalue, in both drafts: stored keys and values. The storage itself is the main thread's, see ../keyvalue.ts. */
import type { KeyPage, KeyValueNamespace } from '../../../../keyvalue/keyvalue.ts';
import type { KeyValueFailure } from '../../keyvalue-failure.ts';
import type { KeyValueAsk, KeyValueMethod } from '../guest-call-protocol.ts';
import { currentRun } from './current-run.ts';
import { HostTrap } from './failure.ts';
import { Handle, handlesFull } from './handle.ts';
import { waitForAny } from './io.ts';

type Result<Method extends KeyValueMethod> = Awaited<ReturnType<KeyValueNamespace[Method]>>;

/** Waits for an operation of the function's namespace. Throws an `error` of wasi:keyvalue/store. */
function ask<Method extends KeyValueMethod>(
  method: Method,
  ...args: Parameters<KeyValueNamespace[Method]>
): Result<Method> {
  const { calls } = currentRun();
  const call = calls.operate({ method, args } as KeyValueAsk);
  waitForAny([{ ready: () => calls.answered(call) !== null || calls.gone }]);
  const answer = calls.answered(call);
  // What was asked is done nevertheless.
  if (answer === null) throw new HostTrap('the client has gone');
  if (!answer.done) throw storeError(answer.failure);
  return answer.value as Result<Method>;
}

function storeError({ missing, why }: KeyValueFailure) {
  return missing ? { tag: 'no-such-store' } : { tag: 'other', val: why };
}

function checkHandles(): void {
  if (handlesFull()) throw { tag: 'other', val: 'too many handles are open' };
}

/** An open bucket of the function's namespace. */
class Bucket extends Handle {
  readonly name: string;

  constructor(name: string) {
    super();
    this.name = name;
  }

  get(key: string): Uint8Array | undefined {
    return ask('get', this.name, key) ?? undefined;
  }

  set(key: string, value: Uint8Array): void {
    ask('set', this.name, key, value);
  }

  delete(key: string): void {
    ask('delete', this.name, key);
  }

  exists(key: string): boolean {
    return ask('exists', this.name, key);
  }
}

/** The first draft: a cursor says how many keys were listed. */
class PositionBucket extends Bucket {
  listKeys(cursor: bigint | undefined) {
    const from = cursor === undefined ? null : { position: positionOf(cursor) };
    const { keys, more }: KeyPage = ask('listKeys', this.name, from);
    return { keys, cursor: more ? BigInt((from?.position ?? 0) + keys.length) : undefined };
  }
}

/** The second: it is the last key listed. */
class KeyBucket extends Bucket {
  listKeys(cursor: string | undefined) {
    const { keys, more }: KeyPage = ask('listKeys', this.name, cursor === undefined ? null : { after: cursor });
    return { keys, cursor: more ? keys.at(-1) : undefined };
  }
}

/** More than any bucket has keys. */
const beyondAll = 2 ** 31 - 1;

/** A cursor that a guest made up may be any number. */
function positionOf(cursor: bigint): number {
  return cursor > BigInt(beyondAll) ? beyondAll : Number(cursor);
}

/** A compare-and-swap: the key, and its version when it was looked at last. */
class Cas extends Handle {
  readonly #bucket: string;
  readonly #key: string;
  #version: bigint;

  private constructor(bucket: string, key: string, version: bigint) {
    super();
    this.#bucket = bucket;
    this.#key = key;
    this.#version = version;
  }

  static new(bucket: Bucket, key: string): Cas {
    checkHandles();
    return new Cas(bucket.name, key, ask('read', bucket.name, key).version);
  }

  /** The value that the key has now: the swap starts from that, and the handle need not keep a value. */
  current(): Uint8Array | undefined {
    const { value, version } = ask('read', this.#bucket, this.#key);
    this.#version = version;
    return value ?? undefined;
  }

  /** Puts the value, or gives back a handle to try again with: then the key has another version by now. */
  static swap(cas: Cas, value: Uint8Array): Cas | null {
    cas.release();
    if (ask('swap', cas.#bucket, cas.#key, cas.#version, value)) return null;
    return new Cas(cas.#bucket, cas.#key, ask('read', cas.#bucket, cas.#key).version);
  }
}

function swap(cas: Cas, value: Uint8Array): void {
  let again: Cas | null;
  try {
    again = Cas.swap(cas, value);
  } catch (error) {
    throw error instanceof Error ? error : { tag: 'store-error', val: error };
  }
  if (again) throw { tag: 'cas-failed', val: again };
}

/** Opens a bucket as a draft has it. */
function open<Draft extends Bucket>(draft: new (name: string) => Draft, name: string): Draft {
  checkHandles();
  ask('checkBucket', name);
  return new draft(name);
}

const batch = {
  getMany(bucket: Bucket, keys: string[]) {
    const values = ask('getMany', bucket.name, keys);
    return values.map((value, at) => (value === null ? undefined : [keys[at]!, value]));
  },
  setMany(bucket: Bucket, entries: [string, Uint8Array][]) {
    ask('setMany', bucket.name, entries);
  },
  deleteMany(bucket: Bucket, keys: string[]) {
    ask('deleteMany', bucket.name, keys);
  },
};

export const keyvalue = {
  'wasi:keyvalue/store@0.2.0-draft': { Bucket: PositionBucket, open: (name: string) => open(PositionBucket, name) },
  'wasi:keyvalue/atomics@0.2.0-draft': {
    increment: ({ name }: Bucket, key: string, delta: bigint) => ask('increment', name, key, delta, 'u64'),
  },
  'wasi:keyvalue/batch@0.2.0-draft': batch,
  'wasi:keyvalue/store@0.2.0-draft2': { Bucket: KeyBucket, open: (name: string) => open(KeyBucket, name) },
  'wasi:keyvalue/atomics@0.2.0-draft2': {
    Cas,
    increment: ({ name }: Bucket, key: string, delta: bigint) => ask('increment', name, key, delta, 's64'),
    swap,
  },
  'wasi:keyvalue/batch@0.2.0-draft2': batch,
};
