import { ratio, withServers } from '../measure/side-by-side.ts';
import { median } from '../measure/statistics.ts';
import { driveAtRate, type OpenLoopLoad } from '../measure/vegeta.ts';
import { drive } from '../measure/wrk.ts';
import type { Group } from '../row.ts';
import { skerry } from '../servers/skerry.ts';
import { TUNED, wasmtimeServe } from '../servers/wasmtime-serve.ts';

export const halfLoad: Group = {
  name: 'p99',
  title: "Rust hello, fresh, requests sent at half of the tuned peer's peak whatever is answered",
  async run(context) {
    const component = await context.rust();
    const starts = [
      skerry('Skerry', 'wasmtime', component, '/hello'),
      wasmtimeServe('wasmtime serve, pool tuned the same', component, '/hello', TUNED),
    ];
    return withServers(starts, async (servers) => {
      const tuned = servers[1]!;
      const peaks: number[] = [];
      for (let round = 0; round < 3; round++) peaks.push((await drive(tuned.url, 2)).requestsPerSecond);
      const rate = median(peaks) / 2;
      context.print(`  ${Math.round(rate)} requests/s`);
      for (const { url } of servers) await driveAtRate(url, rate, 1);
      const loads = servers.map((): OpenLoopLoad[] => []);
      for (let round = 0; round < context.rounds; round++) {
        for (const [i, { url }] of servers.entries()) loads[i]!.push(await driveAtRate(url, rate, context.seconds));
      }
      for (const [i, { name }] of servers.entries()) {
        const of = (value: (load: OpenLoopLoad) => number) => median(loads[i]!.map(value));
        const well = `${(100 * Math.min(...loads[i]!.map(({ success }) => success))).toFixed(1)} % answered`;
        context.print(
          `  p50 ${of((load) => load.p50Ms).toFixed(2)} ms  p99 ${of((load) => load.p99Ms).toFixed(2)} ms  ${well}  ${name}`,
        );
      }
      const { median: middle, text } = ratio(loads[0]!.map(({ p99Ms }, round) => p99Ms / loads[1]![round]!.p99Ms));
      const what = `p99 at ${Math.round(rate)} requests/s: to wasmtime serve, tuned`;
      return [{ what, figure: text, target: 'at most 1x', holds: middle <= 1 }];
    });
  },
};
