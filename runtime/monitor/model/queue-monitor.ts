/** Reckons what requests will wait, and says before they do that an instance more is needed; or that reality is another. */
import { type Finding, isSound, type LoadMonitor, type LoadSample } from '../load-sample.ts';
import { breakingRate, expectedWaitMs, type Queue } from './queueing.ts';

/** So much more than what comes now must still be served in time. */
const HEADROOM = 1.2;
/** Share of a new rate in the mean. */
const GAIN = 0.3;
/** Windows in a row in which the wait was so many times what the model says, and by so much more, in milliseconds. */
const LEFT = { windows: 3, times: 5, ms: 20 };
/** More instances than that are not thought about. */
const MOST = 1000;

export class QueueMonitor implements LoadMonitor {
  /** Arrivals a second. */
  #rate = -1;
  #outside = 0;

  observe(sample: LoadSample): Finding | null {
    if (!isSound(sample) || sample.serviceMs === 0) return null;
    const now = (sample.arrivals / sample.windowMs) * 1000;
    this.#rate = this.#rate < 0 ? now : this.#rate + GAIN * (now - this.#rate);
    if (this.#rate === 0) return null;
    const queue = this.#queue(sample, Math.max(1, sample.instances));
    return this.#needsMore(sample, queue) ?? this.#leftModel(sample, queue);
  }

  #queue({ serviceMs, serviceScv, concurrency }: LoadSample, instances: number): Queue {
    return { rate: this.#rate, serviceMs, serviceScv, arrivalScv: 1, servers: concurrency * instances };
  }

  #needsMore(sample: LoadSample, queue: Queue): Finding | null {
    const { objectiveMs } = sample;
    const rate = queue.rate * HEADROOM;
    if (expectedWaitMs({ ...queue, rate }) <= objectiveMs) return null;
    const breaks = breakingRate(queue, objectiveMs);
    let instances = Math.max(1, sample.instances) + 1;
    while (instances < MOST && expectedWaitMs({ ...this.#queue(sample, instances), rate }) > objectiveMs) instances++;
    return {
      monitor: 'model',
      sees: `${queue.rate.toFixed(1)} requests/s; at ${breaks.toFixed(1)} they wait longer than ${objectiveMs.toFixed(0)} ms`,
      sure: Math.min(1, Math.max(0.5, queue.rate / breaks / HEADROOM)),
      instances,
    };
  }

  #leftModel(sample: LoadSample, queue: Queue): Finding | null {
    const expected = expectedWaitMs(queue);
    const left = sample.waitMs > expected * LEFT.times + LEFT.ms;
    this.#outside = left ? this.#outside + 1 : 0;
    if (this.#outside < LEFT.windows) return null;
    const sees = `waits of ${sample.waitMs.toFixed(0)} ms where ${expected.toFixed(1)} ms are to be expected: something else holds requests up`;
    return { monitor: 'model', sees, sure: Math.min(1, this.#outside / 10), instances: null };
  }
}
