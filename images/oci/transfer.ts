/** Blobs of an image on their way, several at once. */

/** So many at once. */
const PARALLEL = 3;

/**
 * Transfers each blob. After the first failure the signal that `transfer` is given is aborted; it throws that failure, or
 * what `signal` aborts with, when all that had begun have come to an end.
 */
export async function transferEach<T>(
  blobs: readonly T[],
  signal: AbortSignal,
  transfer: (blob: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  const queue = [...blobs];
  const work = async () => {
    for (let blob = queue.shift(); blob; blob = queue.shift()) await transfer(blob, both);
  };
  const workers = Array.from({ length: PARALLEL }, () =>
    work().catch((error) => {
      failed.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(workers);
  await Promise.all(workers);
}
