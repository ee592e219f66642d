/** Operations of a guest on stored keys. Their other half is native/wasm/src/keyvalue.rs. */
import type { KeyCursor, KeyValueNamespace } from '../../../keyvalue/keyvalue.ts';
import { keyvalueFailure } from '../keyvalue-failure.ts';
import { packNumber, packOperands, unpackOperands } from './operands.ts';

/** See `op` in native/wasm/src/calls.rs. */
const op = {
  open: 16,
  get: 17,
  set: 18,
  delete: 19,
  exists: 20,
  listByPosition: 21,
  listByKey: 22,
  incrementU64: 23,
  incrementS64: 24,
  getMany: 25,
  setMany: 26,
  deleteMany: 27,
  read: 28,
  swap: 29,
} as const;

const outcome = { done: 0, noSuchStore: 1, other: 2 } as const;

type Results = (Uint8Array | null)[];

/** What `exists` and `swap` answer for yes; for no there is nothing. */
const YES = [new Uint8Array()];

/** Does what the guest asks, and answers with an outcome and what belongs to it: at once where nothing need be written. */
export function answerKeyValue(
  namespace: KeyValueNamespace,
  what: number,
  packed: Buffer | null,
  answer: (outcome: number, results: Uint8Array) => void,
): void {
  const done = (results: Results) => answer(outcome.done, packOperands(results));
  const failed = (reason: unknown) => {
    const { missing, why } = keyvalueFailure(reason);
    answer(missing ? outcome.noSuchStore : outcome.other, Buffer.from(why));
  };
  try {
    const results = operate(namespace, what, unpackOperands(packed ?? Buffer.alloc(0)));
    if (results instanceof Promise) results.then(done).catch(failed);
    else done(results);
  } catch (error) {
    failed(error);
  }
}

function operate(namespace: KeyValueNamespace, what: number, operands: (Buffer | null)[]): Results | Promise<Results> {
  const bytes = (at: number): Buffer => operands[at] ?? Buffer.alloc(0);
  const text = (at: number): string => bytes(at).toString('utf8');
  const texts = (from: number): string[] => operands.slice(from).map((each) => each!.toString('utf8'));
  const bucket = text(0);
  switch (what) {
    case op.open:
      namespace.checkBucket(bucket);
      return [];
    case op.get:
      return [namespace.get(bucket, text(1))];
    case op.exists:
      return namespace.exists(bucket, text(1)) ? YES : [];
    case op.getMany:
      return namespace.getMany(bucket, texts(1));
    case op.read: {
      const { value, version } = namespace.read(bucket, text(1));
      return [packNumber(version), value];
    }
    case op.listByPosition:
    case op.listByKey:
      return list(namespace, bucket, operands[1] ?? null, what === op.listByKey);
    case op.set:
      return namespace.set(bucket, text(1), bytes(2)).then(nothing);
    case op.setMany: {
      const entries: [string, Buffer][] = [];
      for (let at = 1; at + 1 < operands.length; at += 2) entries.push([text(at), bytes(at + 1)]);
      return namespace.setMany(bucket, entries).then(nothing);
    }
    case op.delete:
      return namespace.delete(bucket, text(1)).then(nothing);
    case op.deleteMany:
      return namespace.deleteMany(bucket, texts(1)).then(nothing);
    case op.incrementU64:
      return namespace.increment(bucket, text(1), bytes(2).readBigUInt64LE(), 'u64').then(number);
    case op.incrementS64:
      return namespace.increment(bucket, text(1), bytes(2).readBigInt64LE(), 's64').then(number);
    case op.swap:
      return namespace
        .swap(bucket, text(1), bytes(2).readBigUInt64LE(), bytes(3))
        .then((swapped) => (swapped ? YES : []));
    default:
      throw new Error(`the native engine asks for operation ${what}`);
  }
}

/** The cursor of the next page, or null, and the keys of this one. */
function list(namespace: KeyValueNamespace, bucket: string, cursor: Buffer | null, byKey: boolean): Results {
  const from = cursor === null ? null : byKey ? { after: cursor.toString('utf8') } : positionOf(cursor);
  const { keys, more } = namespace.listKeys(bucket, from);
  const last = keys.at(-1);
  let next: Buffer | null = null;
  if (more && last !== undefined) {
    const position = from !== null && 'position' in from ? from.position : 0;
    next = byKey ? Buffer.from(last) : packNumber(BigInt(position + keys.length));
  }
  return [next, ...keys.map((key) => Buffer.from(key))];
}

/** More than any bucket has keys. */
const BEYOND_ALL = 2 ** 31 - 1;

/** A cursor that a guest made up may be any number. */
function positionOf(cursor: Buffer): { readonly position: number } & KeyCursor {
  const position = cursor.readBigUInt64LE();
  return { position: position > BEYOND_ALL ? BEYOND_ALL : Number(position) };
}

const nothing = (): Results => [];
const number = (value: bigint): Results => [packNumber(value)];
