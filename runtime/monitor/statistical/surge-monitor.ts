/** Sees what is out of the ordinary: more requests, or longer waits, than this workload had in the last minute. */
import { type Finding, isSound, type LoadMonitor, type LoadSample } from '../load-sample.ts';
import { ControlChart } from './control-chart.ts';

/** Robust standard deviations beyond which a value is no chance. */
const Z_LIMIT = 5;
/** A surge is answered in proportion, but never by more than this many times what runs. */
const MOST_TIMES = 4;
/** What is no deviation: requests a second, and milliseconds of waiting. */
const QUIET = { rate: 1, waitMs: 1 };

export class SurgeMonitor implements LoadMonitor {
  readonly #rates = new ControlChart();
  readonly #waits = new ControlChart();

  observe(sample: LoadSample): Finding | null {
    if (!isSound(sample)) return null;
    const rate = (sample.arrivals / sample.windowMs) * 1000;
    const rates = this.#rates.judge(rate, Math.max(QUIET.rate, Math.sqrt(rate)));
    const waits = this.#waits.judge(sample.waitMs, QUIET.waitMs);
    const surge = rates !== null && rates.z > Z_LIMIT && rates.shifted;
    const slow = waits !== null && waits.z > Z_LIMIT && waits.shifted && sample.waitMs > sample.objectiveMs;
    if (!surge && !slow) return null;
    const z = Math.max(surge ? rates.z : 0, slow ? waits.z : 0);
    const times = surge ? Math.min(MOST_TIMES, rate / Math.max(rates.median, 1)) : 1;
    const running = Math.max(1, sample.instances);
    const sees = surge
      ? `${rate.toFixed(1)} requests/s where ${rates.median.toFixed(1)} are usual`
      : `waits of ${sample.waitMs.toFixed(0)} ms where ${waits!.median.toFixed(0)} ms are usual`;
    return {
      monitor: 'statistical',
      sees: `${sees} (${z.toFixed(1)} deviations)`,
      sure: 1 - Z_LIMIT / (Z_LIMIT + z),
      instances: Math.max(running + 1, Math.ceil(running * times)),
    };
  }
}
