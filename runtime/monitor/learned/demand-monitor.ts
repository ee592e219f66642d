/** Learns when requests come, a minute at a time, and says which minute will need how many instances before it begins. */
import { type Finding, isSound, type LoadMonitor, type LoadSample } from '../load-sample.ts';
import { Forecaster } from './forecaster.ts';

const SLOT_MS = 60_000;
/** In slots: what timers and people have. */
const SEASONS = [5, 10, 15, 30, 60, 1440];
/** A slot whose forecast is at least this many requests is worth an instance that is there. */
const WORTH = 0.5;
/** Nothing is expected only where errors are so much smaller than the naive ones: of a timer, not of chance. */
const SURE = 0.7;
/** The next slot is seen to so long before it begins, in milliseconds: a timer fires at its very beginning. */
const AHEAD_MS = 15_000;
/** Slots without a look at the workload that are filled in, before everything is begun anew. */
const MOST_MISSED = 1440;

export class DemandMonitor implements LoadMonitor {
  #forecaster = new Forecaster(SEASONS);
  #slot = -1;
  #arrivals = 0;

  get errors(): Forecaster['errors'] {
    return this.#forecaster.errors;
  }

  observe(sample: LoadSample): Finding | null {
    if (!isSound(sample)) return null;
    const slot = Math.floor((sample.at - sample.windowMs / 2) / SLOT_MS);
    if (this.#slot < 0) this.#slot = slot;
    if (slot < this.#slot) return null;
    if (slot - this.#slot > MOST_MISSED) {
      this.#forecaster = new Forecaster(SEASONS);
      this.#slot = slot;
    }
    for (; this.#slot < slot; this.#slot++) {
      this.#forecaster.learn(this.#arrivals);
      this.#arrivals = 0;
    }
    this.#arrivals += sample.arrivals;
    return this.#ahead(sample);
  }

  /** Of the slot that has begun, whose requests may still be to come, and of the next one when it is near. */
  #ahead(sample: LoadSample): Finding | null {
    const near = SLOT_MS - (sample.at % SLOT_MS) <= AHEAD_MS;
    const forecasts = [this.#forecaster.forecast(), near ? this.#forecaster.forecast(1) : null];
    const [forecast] = forecasts.filter((each) => each !== null).sort((a, b) => b.value - a.value);
    if (!forecast) return null;
    const { forecast: error, naive } = this.#forecaster.errors;
    const sure = naive > 0 ? 1 - error / naive : 0;
    if (forecast.value < WORTH) {
      const quiet = forecast.high < WORTH && sure >= SURE;
      return quiet ? { monitor: 'learned', sees: 'no request is to come within a minute', sure, instances: 0 } : null;
    }
    const { serviceMs, concurrency } = sample;
    const busy = ((forecast.high / SLOT_MS) * serviceMs) / concurrency;
    const range = `${forecast.low.toFixed(1)} to ${forecast.high.toFixed(1)}`;
    const sees = `${forecast.value.toFixed(1)} requests are to come within a minute (${range})`;
    return { monitor: 'learned', sees, sure, instances: Math.max(1, Math.ceil(busy)) };
  }
}
