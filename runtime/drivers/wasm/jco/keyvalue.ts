/** Operations of a guest on stored keys. Their other half is wasi/keyvalue.ts, in the worker. */
import type { KeyValueNamespace } from '../../../keyvalue/keyvalue.ts';
import { keyvalueFailure } from '../keyvalue-failure.ts';
import type { KeyValueAnswer, KeyValueAsk, KeyValueMethod } from './guest-call-protocol.ts';
import { exactCopy } from './protocol.ts';

/** All that a worker may call. */
const methods: Readonly<Record<KeyValueMethod, true>> = {
  checkBucket: true,
  get: true,
  exists: true,
  getMany: true,
  listKeys: true,
  read: true,
  set: true,
  setMany: true,
  delete: true,
  deleteMany: true,
  increment: true,
  swap: true,
};

type Tell = (answer: KeyValueAnswer, transfer: readonly ArrayBuffer[]) => void;

/** Does what the guest asks, and answers: at once where nothing need be written. */
export function answerKeyValue(namespace: KeyValueNamespace, { method, args }: KeyValueAsk, tell: Tell): void {
  if (!Object.hasOwn(methods, method)) throw new Error(`a worker asks for ${method} of the key-value storage`);
  const done = (value: unknown) => {
    const buffers: ArrayBuffer[] = [];
    tell({ done: true, value: detached(value, buffers) }, buffers);
  };
  const failed = (reason: unknown) => tell({ done: false, failure: keyvalueFailure(reason) }, []);
  try {
    const operation = namespace[method] as (...args: readonly unknown[]) => unknown;
    const value = operation.apply(namespace, args);
    if (value instanceof Promise) value.then(done).catch(failed);
    else done(value);
  } catch (error) {
    failed(error);
  }
}

/** The same with bytes that can be handed over; their buffers are added to `buffers`. */
function detached(value: unknown, buffers: ArrayBuffer[]): unknown {
  if (value instanceof Uint8Array) {
    const copy = exactCopy(value);
    buffers.push(copy.buffer);
    return copy;
  }
  if (Array.isArray(value)) return value.map((each) => detached(each, buffers));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, detached(each, buffers)]));
}
