import { asSkerryError } from '../../../errors/skerry-error.ts';

/** An `error` of wasi:keyvalue/store: `no-such-store` when `missing`, and else `other` with what happened. */
export interface KeyValueFailure {
  readonly missing: boolean;
  readonly why: string;
}

/** What a guest is told of anything that an operation of runtime/keyvalue threw. */
export function keyvalueFailure(reason: unknown): KeyValueFailure {
  const { code, what } = asSkerryError(reason);
  return { missing: code === 'KEYVALUE_BUCKET_INVALID', why: what };
}
