/** Draws from the distributions that published traces are described with. `random` gives numbers in [0, 1). */
export type Random = () => number;

export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random());
}

/** `median`, and the standard deviation of the logarithm. */
export function logNormal(random: Random, median: number, sigma: number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return median * Math.exp(sigma * radius * Math.cos(2 * Math.PI * random()));
}

/** One of the values, each with its weight. */
export function weighted<T>(random: Random, values: readonly (readonly [T, number])[]): T {
  let left = random() * values.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [value, weight] of values) {
    left -= weight;
    if (left < 0) return value;
  }
  return values.at(-1)![0];
}
