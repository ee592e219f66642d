import type { SkerryError } from '../../errors/skerry-error.ts';

/** The failure of what must fail. */
export async function failure<E extends Error = SkerryError>(work: Promise<unknown>): Promise<E> {
  try {
    await work;
  } catch (error) {
    return error as E;
  }
  throw new Error('it did not fail');
}
