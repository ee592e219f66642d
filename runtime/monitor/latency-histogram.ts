/** Counts of durations by size: fine enough to read percentiles from, and exact at the bounds that Prometheus is told. */

/** Upper bounds of the buckets that Prometheus sees, in milliseconds. */
export const PROMETHEUS_BOUNDS_MS = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];

/** What is shorter than this is told as this, in milliseconds. */
const SHORTEST_MS = 0.05;
/** Buckets between two bounds, in a geometric row: each is at most 12 % wide, 10 % below the first bound. */
const PARTS = 8;
const PARTS_BELOW_FIRST = 24;

function fineBounds(): number[] {
  const bounds = [SHORTEST_MS];
  let from = SHORTEST_MS;
  for (const to of PROMETHEUS_BOUNDS_MS) {
    const parts = from === SHORTEST_MS ? PARTS_BELOW_FIRST : PARTS;
    for (let part = 1; part < parts; part++) bounds.push(from * (to / from) ** (part / parts));
    bounds.push(to);
    from = to;
  }
  return bounds;
}

/** Upper bounds of the buckets, in milliseconds; one more bucket counts what is above all of them. */
const BOUNDS_MS = fineBounds();

export class LatencyHistogram {
  readonly #counts = new Float64Array(BOUNDS_MS.length + 1);
  #sumMs = 0;

  observe(ms: number): void {
    this.#counts[bucketOf(ms)]! += 1;
    this.#sumMs += ms;
  }

  get sumMs(): number {
    return this.#sumMs;
  }

  /** The counts of now, to be compared with later ones. */
  copy(): Float64Array {
    return this.#counts.slice();
  }

  /** The duration that a share of all stayed under, in milliseconds; null when there were none. */
  quantile(share: number, since?: Float64Array): number | null {
    return quantile(since ? this.#counts.map((count, i) => count - since[i]!) : this.#counts, share);
  }

  /** How many took no longer than each of PROMETHEUS_BOUNDS_MS, and how many there were. */
  cumulative(): { readonly upTo: readonly number[]; readonly count: number } {
    const upTo: number[] = [];
    let count = 0;
    this.#counts.forEach((some, bucket) => {
      count += some;
      if (bucket < BOUNDS_MS.length && BOUNDS_MS[bucket] === PROMETHEUS_BOUNDS_MS[upTo.length]) upTo.push(count);
    });
    return { upTo, count };
  }
}

/** The first bucket whose bound is not below, by halving. */
function bucketOf(ms: number): number {
  let from = 0;
  let to = BOUNDS_MS.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (ms <= BOUNDS_MS[middle]!) to = middle;
    else from = middle + 1;
  }
  return from;
}

/** Within a bucket as if its durations were spread evenly. */
function quantile(counts: Float64Array, share: number): number | null {
  const wanted = counts.reduce((sum, count) => sum + count, 0) * share;
  if (wanted === 0) return null;
  let below = 0;
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && below + count >= wanted) {
      const from = BOUNDS_MS[bucket - 1] ?? 0;
      const to = BOUNDS_MS[bucket] ?? BOUNDS_MS.at(-1)!;
      return from + (to - from) * ((wanted - below) / count);
    }
    below += count;
  }
  return BOUNDS_MS.at(-1)!;
}
