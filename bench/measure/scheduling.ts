/** The scheduler measured by itself: what a decision costs in time that passes, what decisions come to in virtual time. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Forecaster } from '../../runtime/monitor/learned/forecaster.ts';
import { Admission } from '../../runtime/scheduler/admission/admission.ts';
import type { Discipline } from '../../runtime/scheduler/admission/discipline.ts';
import type { Lane } from '../../runtime/scheduler/admission/lane.ts';
import type { Waiter } from '../../runtime/scheduler/admission/waiter.ts';
import { type Candidate, chooseInstance } from '../../runtime/scheduler/balancing/choose-instance.ts';
import { ServiceRecord } from '../../runtime/scheduler/balancing/service-record.ts';
import { exponential, logNormal, type Random } from '../../runtime/scheduler/simulation/distributions.ts';
import { makeFunctions, nextArrivalMs } from '../../runtime/scheduler/simulation/load-model.ts';
import { randomFrom } from '../../runtime/scheduler/simulation/random.ts';
import { percentile } from '../../runtime/scheduler/simulation/report.ts';
import { simulate } from '../../runtime/scheduler/simulation/simulate.ts';
import { VirtualClock } from '../../runtime/scheduler/simulation/virtual-clock.ts';

const LANE = { limit: 1e9, priority: 5, timeoutMs: 1e9 };

/** Microseconds for a request on a full node: it waits in turn, gets a place, chooses of `instances`, and leaves. */
export function decisionCostUs(workloads: number, instances: number): number {
  const admission = new Admission({ concurrency: 64, queue: 1e9 });
  const random = randomFrom(1);
  const each = Math.max(1, Math.floor(instances / workloads));
  const running: Lane[] = [];
  let from = 0;
  const all = Array.from({ length: workloads }, (_, i) => {
    const lane = admission.lane({ ...LANE, name: `w${i}`, concurrency: 64, priority: i % 10 });
    const candidates = Array.from(
      { length: each },
      (): Candidate => ({ inFlight: 0, paused: false, record: new ServiceRecord() }),
    );
    const waiter: Waiter = {
      deadline: Number.POSITIVE_INFINITY,
      aborted: false,
      expectedMs: 1,
      nested: false,
      run(now) {
        chooseInstance(candidates, { running: each, concurrency: 64, now, random });
        running.push(lane);
      },
      refuse() {},
    };
    return { lane, waiter };
  });
  const arrive = () => {
    const { lane, waiter } = all[Math.floor(random() * workloads)]!;
    lane.enter(waiter, performance.now());
  };
  const round = (requests: number) => {
    for (let i = 0; i < requests; i++) {
      arrive();
      running[from++]!.leave(1);
    }
    running.splice(0, from);
    from = 0;
  };
  // As many wait as there are workloads, so that turns are taken.
  for (let i = 0; i < 64 + workloads; i++) arrive();
  round(20_000);
  const times = Array.from({ length: 5 }, () => {
    const began = performance.now();
    round(40_000);
    return ((performance.now() - began) * 1000) / 40_000;
  });
  return Math.min(...times);
}

interface Response {
  readonly totalMs: number;
  readonly waitMs: number;
}

/** One server at this load, four routes whose times are heavy-tailed and of different size. */
export function responsesUnder(discipline: Discipline, load: number, requests: number, seed: number): Response[] {
  const clock = new VirtualClock();
  const [coming, times] = [randomFrom(seed), randomFrom(seed + 1)];
  const admission = new Admission({ clock, discipline, concurrency: 1, queue: 1e9 });
  const lane = admission.lane({ ...LANE, name: 'w', concurrency: 1 });
  const routes = [1, 5, 40, 300].map((medianMs, i) => ({ medianMs, weight: [60, 25, 12, 3][i]! }));
  const sigma = 1;
  const meanMs = routes.reduce(
    (sum, { medianMs, weight }) => sum + (weight / 100) * medianMs * Math.exp(sigma ** 2 / 2),
    0,
  );
  const seen = new Map<number, { sum: number; count: number }>();
  const responses: Response[] = [];
  let at = 0;
  for (let i = 0; i < requests; i++) {
    at += exponential(coming, meanMs / load);
    let draw = coming() * 100;
    const route = routes.findIndex(({ weight }) => {
      draw -= weight;
      return draw < 0;
    });
    const serviceMs = logNormal(times, routes[route]!.medianMs, sigma);
    clock.after(at, () => {
      const known = seen.get(route) ?? { sum: 0, count: 0 };
      seen.set(route, known);
      const arrivedAt = clock.now();
      const waiter: Waiter = {
        deadline: Number.POSITIVE_INFINITY,
        aborted: false,
        expectedMs: known.count > 0 ? known.sum / known.count : 0,
        nested: false,
        run(now) {
          clock.after(serviceMs, () => {
            known.sum += serviceMs;
            known.count++;
            responses.push({ totalMs: clock.now() - arrivedAt, waitMs: now - arrivedAt });
            lane.leave(serviceMs);
          });
        },
        refuse() {},
      };
      lane.enter(waiter, arrivedAt);
    });
  }
  clock.runUntil(1e12);
  return responses;
}

/** p99 of eight instances, one of them ten times slower, at most one request at once each. */
export function p99With(choice: 'turns' | 'scheduler', requests: number, seed: number): number {
  const clock = new VirtualClock();
  const random = randomFrom(seed);
  const instances = Array.from({ length: 8 }, () => ({
    inFlight: 0,
    paused: false,
    record: new ServiceRecord(),
    freeAt: 0,
  }));
  const latencies: number[] = [];
  let running = 0;
  let at = 0;
  for (let i = 0; i < requests; i++) {
    at += exponential(random, 20);
    clock.after(at, () => {
      const now = clock.now();
      running++;
      const chosen =
        choice === 'turns'
          ? instances[i % 8]!
          : chooseInstance(instances, { running, concurrency: 1000, now, random })!;
      chosen.inFlight++;
      const ms = exponential(random, chosen === instances[3] ? 100 : 10);
      const ends = Math.max(now, chosen.freeAt) + ms;
      chosen.freeAt = ends;
      clock.after(ends - now, () => {
        chosen.inFlight--;
        running--;
        chosen.record.succeeded(ends - now, ends);
        latencies.push(ends - now);
      });
    });
  }
  clock.runUntil(1e12);
  return percentile(
    latencies.sort((a, b) => a - b),
    0.99,
  );
}

export interface Overload {
  /** Share of what could be served that was, within the deadline. */
  readonly goodput: number;
  readonly refusedMedianMs: number;
  /** From the end of the overload until a request does not wait longer than 100 ms. */
  readonly recoveryMs: number;
}

/** A function of 5 ms at three times what two cores serve, for 30 s, then at half of it. */
export function overload(seed: number): Overload {
  const clock = new VirtualClock();
  const random = randomFrom(seed);
  const admission = new Admission({ clock, concurrency: 2 });
  const lane = admission.lane({ name: 'w', concurrency: 2, limit: 128, priority: 5, timeoutMs: 1000 });
  const capacity = 2 / 5;
  const refusals: number[] = [];
  let good = 0;
  let recovered = Number.POSITIVE_INFINITY;
  const arrive = () => {
    const arrivedAt = clock.now();
    const over = arrivedAt < 30_000;
    const waiter: Waiter = {
      deadline: arrivedAt + 1000,
      aborted: false,
      expectedMs: lane.meanMs,
      nested: false,
      run(now) {
        if (!over && now - arrivedAt < 100) recovered = Math.min(recovered, now - 30_000);
        clock.after(5, () => {
          if (over && clock.now() < waiter.deadline) good++;
          lane.leave(5);
        });
      },
      refuse: () => void refusals.push(clock.now() - arrivedAt),
    };
    lane.enter(waiter, arrivedAt);
    if (arrivedAt < 40_000) clock.after(exponential(random, 1 / (capacity * (over ? 3 : 0.5))), arrive);
  };
  clock.after(0, arrive);
  clock.runUntil(60_000);
  refusals.sort((a, b) => a - b);
  return { goodput: good / (capacity * 30_000), refusedMedianMs: percentile(refusals, 0.5), recoveryMs: recovered };
}

/** Cold starts of the forecasts over those of a fixed ten minutes, where both cost the same memory over time. */
export function coldStartsAtEqualMemory(
  nodes: number,
  seed: number,
): { readonly ratio: number; readonly text: string } {
  const run = (minutes: number, learned: boolean) => {
    const policy = { name: '', monitors: learned ? (['learned'] as const) : [], keepAliveMs: minutes * 60_000 };
    return simulate({
      nodes,
      seed,
      minutes: 1440,
      fromMinute: 240,
      faults: false,
      policy: { ...policy, discipline: 'fcfs' },
    });
  };
  const fixed = run(10, false);
  let [low, high] = [1, 60];
  for (let step = 0; step < 6; step++) {
    const middle = (low + high) / 2;
    if (run(middle, true).memoryTime > fixed.memoryTime) high = middle;
    else low = middle;
  }
  const ours = run(low, true);
  const text = `${ours.coldStarts} to ${fixed.coldStarts}, each instance kept ${low.toFixed(1)} min`;
  return { ratio: ours.coldStarts / fixed.coldStarts, text };
}

/** Hourly temperatures of Seattle for a year, from the Python package vega_datasets; null where that is not installed. */
export function publicSeries(): number[] | null {
  // It is not imported: that would need pandas.
  const show = 'from importlib.util import find_spec as f; print(f("vega_datasets").submodule_search_locations[0])';
  const { status, stdout } = spawnSync('python3', ['-c', show], { encoding: 'utf8' });
  if (status !== 0) return null;
  const rows = readFileSync(join(stdout.trim(), '_data', 'seattle-temps.csv'), 'utf8')
    .trim()
    .split('\n');
  return rows.slice(1).map((row) => Number(row.split(',')[1]));
}

/** Error of the forecaster over that of the seasonal naive forecast, from the third season on. */
export function scaledError(series: readonly number[], season: number, seasons: readonly number[]): number {
  const forecaster = new Forecaster(seasons);
  let [ours, naive] = [0, 0];
  for (const [i, value] of series.entries()) {
    if (i >= 2 * season) {
      // Where it has no better forecast than the last value, it is that.
      ours += Math.abs(value - (forecaster.forecast()?.value ?? series[i - 1]!));
      naive += Math.abs(value - series[i - season]!);
    }
    forecaster.learn(value);
  }
  return ours / naive;
}

/** Requests of each minute, for functions of the simulated load that are asked often enough to be forecast. */
function minuteSeries(random: Random): number[][] {
  const minutes = 4 * 1440;
  const functions = makeFunctions(200, random).filter(({ everyMs }) => everyMs <= 60 * 60_000);
  return functions.map((each) => {
    const series = new Array<number>(minutes).fill(0);
    for (let at = nextArrivalMs(each, 0, random); at < minutes * 60_000; at += nextArrivalMs(each, at, random)) {
      series[Math.floor(at / 60_000)]! += each.trigger === 'burst' ? each.burst : 1;
    }
    return series;
  });
}

/** Mean over the series of the simulated load; the seasonal naive forecast is the value of a day ago. */
export function meanScaledError(seed: number): number {
  const ratios = minuteSeries(randomFrom(seed)).map((series) => scaledError(series, 1440, [5, 10, 15, 30, 60, 1440]));
  // What the naive forecast knows exactly has no scale.
  const known = ratios.filter(Number.isFinite);
  return known.reduce((sum, each) => sum + each, 0) / known.length;
}
