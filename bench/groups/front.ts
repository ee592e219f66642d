import { groupCpuUs, mainThreadCpuUs } from '../measure/process-figures.ts';
import { withServers } from '../measure/side-by-side.ts';
import { drive } from '../measure/wrk.ts';
import { type Group, type Row, untargeted } from '../row.ts';
import { skerry } from '../servers/skerry.ts';

/** What the one thread that listens, parses, routes and answers costs: its ceiling, however many cores run guests. */
export const front: Group = {
  name: 'front',
  title: 'What one front thread costs (there is one; two are designed only)',
  async run(context) {
    const component = await context.rust();
    const starts = [
      skerry('a fresh instance each', 'wasmtime', component, '/hello'),
      skerry('--reuse 128', 'wasmtime', component, '/hello', { reuse: 128 }),
    ];
    return withServers(starts, async (servers) => {
      const rows: Row[] = [];
      for (const { name, url, pid } of servers) {
        await drive(url, 1);
        const [front, all] = [mainThreadCpuUs(pid), groupCpuUs(pid)];
        const { requests } = await drive(url, 2 * context.seconds);
        const mine = (mainThreadCpuUs(pid) - front) / requests;
        const whole = (groupCpuUs(pid) - all) / requests;
        const ceiling = Math.round(1e6 / mine);
        const figure = `${mine.toFixed(0)} of ${whole.toFixed(0)} us a request`;
        context.print(`  ${figure}: one front thread carries at most ${ceiling} req/s (${name})`);
        rows.push(untargeted(`CPU of the front thread, ${name}`, `${figure}, ceiling ${ceiling} req/s`));
      }
      return rows;
    });
  },
};
