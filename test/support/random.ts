export { randomFrom } from '../../runtime/scheduler/simulation/random.ts';

/** The seed of a test: from `SKERRY_TEST_SEED` to repeat a run, else a new one. Printed, so that it can be repeated. */
export function chooseSeed(test: string): number {
  const seed = Number(process.env.SKERRY_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`${test}: SKERRY_TEST_SEED=${seed}`);
  return seed;
}
