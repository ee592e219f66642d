import { overloadLive } from '../measure/live-overload.ts';
import {
  coldStartsAtEqualMemory,
  decisionCostUs,
  meanScaledError,
  overload,
  p99With,
  publicSeries,
  responsesUnder,
  scaledError,
} from '../measure/scheduling.ts';
import { atLeast, atMost, type Context, type Group, type Row } from '../row.ts';

const mean = (values: readonly number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;

export const scheduler: Group = {
  name: 'scheduler',
  title: 'The scheduler: decisions in real time, what they come to in virtual time (seed 1), overload on a node',
  async run(context) {
    const rows: Row[] = [];
    const few = decisionCostUs(10, 100);
    const many = decisionCostUs(1000, 10_000);
    context.print(
      `  a decision: ${few.toFixed(2)} us with 10 workloads, ${many.toFixed(2)} us with 1000 and 10,000 instances`,
    );
    rows.push(atMost('a decision with 1000 workloads and 10,000 instances', many, 2, 'us', `${many.toFixed(2)} us`));
    const [fcfs, sjf] = (['fcfs', 'sjf'] as const).map((discipline) => responsesUnder(discipline, 0.8, 50_000, 1));
    const [long, short] = [fcfs!, sjf!].map((all) => mean(all.map(({ totalMs }) => totalMs)));
    const worst = [fcfs!, sjf!].map((all) => Math.max(...all.map(({ waitMs }) => waitMs)) / 1000);
    context.print(
      `  worst wait: ${worst[0]!.toFixed(1)} s first come first served, ${worst[1]!.toFixed(1)} s shortest job first`,
    );
    const gain = long! / short!;
    rows.push(atLeast('mean response, shortest job first against first come', gain, 2, `${gain.toFixed(2)}x`));
    const [turns, chosen] = [p99With('turns', 50_000, 1), p99With('scheduler', 50_000, 1)];
    const better = `${(turns / chosen).toFixed(1)}x (${turns.toFixed(0)} ms, ${chosen.toFixed(0)} ms)`;
    rows.push(atLeast('p99, two choices by peak EWMA against turns, one of eight slow', turns / chosen, 5, better));
    const { goodput, refusedMedianMs, recoveryMs } = overload(1);
    rows.push(atLeast('goodput at 3x capacity, virtual time', goodput, 0.9, `${(100 * goodput).toFixed(1)} %`));
    rows.push(atMost('  refused after (median)', refusedMedianMs, 10, 'ms', `${refusedMedianMs.toFixed(1)} ms`));
    rows.push(atMost('  recovery', recoveryMs, 1000, 'ms', `${recoveryMs.toFixed(0)} ms`));
    rows.push(...(await overloadRows(context)));
    const cold = coldStartsAtEqualMemory(2, 1);
    rows.push(
      atMost(
        'cold starts to a fixed keep-alive, same memory',
        cold.ratio,
        0.5,
        'x',
        `${cold.ratio.toFixed(2)}x (${cold.text})`,
      ),
    );
    const error = meanScaledError(1);
    rows.push(atMost('error of forecasts to seasonal naive', error, 0.9, 'x', `${error.toFixed(2)}x`));
    const series = publicSeries();
    if (series) {
      const real = scaledError(series, 24, [24]);
      rows.push(atMost('the same, hourly temperatures of Seattle', real, 0.9, 'x', `${real.toFixed(2)}x`));
    } else context.print('  left out: a public series; it is in the Python package vega_datasets');
    return rows;
  },
};

const OVERLOAD_SECONDS = 30;

/** The same on a real node. */
async function overloadRows({ print, rust }: Context): Promise<Row[]> {
  const seen = await overloadLive(await rust(), OVERLOAD_SECONDS);
  const { capacity, goodput, refused, refusedMedianMs, recoveryMs } = seen;
  const share = `${(100 * refused).toFixed(0)} %`;
  print(`  a node serves ${capacity.toFixed(0)} requests/s of 5 ms; at three times that it refused ${share}`);
  const what = `goodput at 3x capacity, a node for ${OVERLOAD_SECONDS} s`;
  return [
    atLeast(what, goodput, 0.9, `${(100 * goodput).toFixed(1)} %`),
    atMost('  refused after (median)', refusedMedianMs, 10, 'ms', `${refusedMedianMs.toFixed(1)} ms`),
    atMost('  recovery', recoveryMs, 1000, 'ms', `${recoveryMs.toFixed(0)} ms`),
  ];
}
