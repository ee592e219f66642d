/**
 * Forecasts the next value of a series, online: several small forecasters look at the same values, each is scored on what
 * came, and the best of them is asked. Beside them runs the naive one, that the next value is the last one; where none does
 * better, there is no forecast.
 */

export interface Forecast {
  readonly value: number;
  /** Nine of ten values lie between these. */
  readonly low: number;
  readonly high: number;
}

/** Weight of a new error in the scores. */
const SCORE_GAIN = 0.02;
/** Values before a score counts. */
const LEAST = 24;
/** Of a normal distribution nine of ten lie within so many mean absolute errors. */
const NINE_OF_TEN = 1.645 * 1.2533;

/** Exponential smoothing with a level and a season, additive (Holt and Winters, without a trend); a season of 1 is none. */
class Smoothing {
  readonly #season: Float32Array;
  readonly #alpha: number;
  readonly #gamma: number;
  #level = 0;
  #seen = 0;

  constructor(season: number, alpha: number, gamma: number) {
    this.#season = new Float32Array(season);
    this.#alpha = alpha;
    this.#gamma = gamma;
  }

  /** Of the next value, or of one `ahead` of it; null: it has not seen enough. */
  predict(ahead = 0): number | null {
    const { length } = this.#season;
    if (this.#seen < length) return null;
    return Math.max(0, this.#level + this.#season[(this.#seen + ahead) % length]!);
  }

  learn(value: number): void {
    const { length } = this.#season;
    const slot = this.#seen % length;
    if (this.#seen < length) {
      // The first season is taken as it comes; the level is its mean.
      this.#season[slot] = value;
      this.#level += (value - this.#level) / (this.#seen + 1);
      if (this.#seen === length - 1) for (let i = 0; i < length; i++) this.#season[i]! -= this.#level;
    } else {
      const error = value - this.#level - this.#season[slot]!;
      this.#level += this.#alpha * error;
      this.#season[slot]! += this.#gamma * (1 - this.#alpha) * error;
    }
    this.#seen++;
  }
}

/** The last value, and the step that followed it a season ago: for what moves smoothly. */
class SeasonalStep {
  readonly #values: Float32Array;
  #seen = 0;

  constructor(season: number) {
    this.#values = new Float32Array(season + 1);
  }

  predict(ahead = 0): number | null {
    const { length } = this.#values;
    if (this.#seen < length) return null;
    const at = (back: number) => this.#values[(this.#seen - back + length) % length]!;
    // The oldest is as far from what is asked for as the last is, a season before.
    return Math.max(0, at(1) + at(length - 1 - ahead) - at(length));
  }

  learn(value: number): void {
    this.#values[this.#seen % this.#values.length] = value;
    this.#seen++;
  }
}

/** The median of the last values: the best guess, by its absolute error, of what comes seldom and at random. */
class RollingMedian {
  /** In the order in which they came, from the oldest on round the ring; and by size. */
  readonly #ring: Float64Array;
  readonly #sorted: Float64Array;
  #seen = 0;

  constructor(window: number) {
    this.#ring = new Float64Array(window);
    this.#sorted = new Float64Array(window);
  }

  predict(): number | null {
    const count = Math.min(this.#seen, this.#ring.length);
    return count < LEAST ? null : this.#sorted[count >> 1]!;
  }

  learn(value: number): void {
    const [ring, sorted] = [this.#ring, this.#sorted];
    const slot = this.#seen % ring.length;
    const full = this.#seen >= ring.length;
    // Where the value goes: the place of the one that leaves, or the end; then to its neighbours until it fits.
    let place = full ? sorted.indexOf(ring[slot]!) : this.#seen;
    const last = full ? ring.length - 1 : this.#seen;
    for (; place > 0 && sorted[place - 1]! > value; place--) sorted[place] = sorted[place - 1]!;
    for (; place < last && sorted[place + 1]! < value; place++) sorted[place] = sorted[place + 1]!;
    sorted[place] = value;
    ring[slot] = value;
    this.#seen++;
  }
}

/** Values that a median is taken of. */
const MEDIAN_OF = 60;

interface Scored {
  readonly expert: Smoothing | SeasonalStep | RollingMedian;
  /** Mean absolute error. */
  error: number;
  scored: number;
}

export class Forecaster {
  readonly #experts: readonly Scored[];
  #last: number | null = null;
  #naiveError = 0;
  #error = 0;
  #scored = 0;

  /** `seasons`: lengths in values that may show. */
  constructor(seasons: readonly number[]) {
    const experts: Scored['expert'][] = [
      new Smoothing(1, 0.1, 0),
      new Smoothing(1, 0.3, 0),
      new RollingMedian(MEDIAN_OF),
    ];
    for (const season of seasons) {
      experts.push(new Smoothing(season, 0.05, 0.2));
      if (season <= 256) experts.push(new Smoothing(season, 0.3, 0.1), new SeasonalStep(season));
    }
    this.#experts = experts.map((expert) => ({ expert, error: 0, scored: 0 }));
  }

  /** Of the next value, or of one `ahead` of it; null while nothing does better than to say that it will be as the last. */
  forecast(ahead = 0): Forecast | null {
    if (!this.trusted) return null;
    const best = this.#best();
    const value = best?.expert.predict(ahead) ?? null;
    if (best === null || value === null) return null;
    const reach = best.error * NINE_OF_TEN;
    return { value, low: Math.max(0, value - reach), high: value + reach };
  }

  /** Its forecasts have been better than the naive ones. */
  get trusted(): boolean {
    return this.#scored >= LEAST && this.#error < this.#naiveError;
  }

  /** Mean absolute errors of what was forecast and of the naive forecast, on the same values. */
  get errors(): { readonly forecast: number; readonly naive: number } {
    return { forecast: this.#error, naive: this.#naiveError };
  }

  /** What came. What is no number is taken for what was expected. */
  learn(given: number): void {
    const expected = this.#best()?.expert.predict() ?? null;
    const value = Number.isFinite(given) && given >= 0 ? given : (expected ?? this.#last ?? 0);
    if (expected !== null && this.#last !== null) {
      this.#error = mean(this.#error, Math.abs(value - expected), this.#scored);
      this.#naiveError = mean(this.#naiveError, Math.abs(value - this.#last), this.#scored);
      this.#scored++;
    }
    for (const each of this.#experts) {
      const predicted = each.expert.predict();
      if (predicted !== null) {
        each.error = mean(each.error, Math.abs(value - predicted), each.scored);
        each.scored++;
      }
      each.expert.learn(value);
    }
    this.#last = value;
  }

  #best(): Scored | null {
    let best: Scored | null = null;
    for (const each of this.#experts) {
      if (each.scored < LEAST / 2) continue;
      if (!best || each.error < best.error) best = each;
    }
    return best;
  }
}

function mean(before: number, value: number, count: number): number {
  return before + (value - before) * Math.max(SCORE_GAIN, 1 / (count + 1));
}
