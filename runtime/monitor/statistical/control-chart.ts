/** Whether a value is one of its kind: by the robust z-score of the last ones, and by an EWMA control chart for small shifts. */

export interface Judgement {
  /** Distance from the median in robust standard deviations. */
  readonly z: number;
  readonly median: number;
  /** The EWMA is above its upper control limit. */
  readonly shifted: boolean;
}

/** Values that are remembered, and how many there must be before one is judged. */
const WINDOW = 60;
const LEAST = 12;
/** Of the control chart: weight of a new value, and the limit in standard deviations (Lucas and Saccucci). */
const WEIGHT = 0.2;
const LIMIT = 3;
/** The median absolute deviation of a normal distribution is so much of its standard deviation. */
const MAD_OF_NORMAL = 0.6745;

function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export class ControlChart {
  readonly #values: number[] = [];
  #ewma = 0;

  /**
   * Null while there are too few to judge by. `leastDeviation`: what is no deviation at all in the unit of the values, so that
   * a row of equal ones does not make the next an outlier.
   */
  judge(value: number, leastDeviation: number): Judgement | null {
    // Nothing is no more than is usual: most workloads are asked for nothing most of the time.
    const judged = value <= 0 || this.#values.length < LEAST ? null : this.#judge(value, leastDeviation);
    // What is far out is remembered as less, so that one outlier does not hide the next.
    this.#ewma = this.#values.length === 0 ? value : this.#ewma + WEIGHT * (value - this.#ewma);
    this.#values.push(value);
    if (this.#values.length > WINDOW) this.#values.shift();
    return judged;
  }

  #judge(value: number, leastDeviation: number): Judgement {
    const sorted = [...this.#values].sort((a, b) => a - b);
    const middle = median(sorted);
    const deviations = sorted.map((each) => Math.abs(each - middle)).sort((a, b) => a - b);
    const sigma = Math.max(leastDeviation, median(deviations) / MAD_OF_NORMAL);
    const ewma = this.#ewma + WEIGHT * (value - this.#ewma);
    const limit = LIMIT * sigma * Math.sqrt(WEIGHT / (2 - WEIGHT));
    return { z: (value - middle) / sigma, median: middle, shifted: ewma > middle + limit };
  }
}
