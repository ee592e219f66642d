import { openJcoEngine } from '../../runtime/drivers/wasm/jco/index.ts';
import { openWasmtimeEngine } from '../../runtime/drivers/wasm/wasmtime/index.ts';
import { measureDeadlines } from '../measure/deadlines.ts';
import { type Group, type Row, untargeted } from '../row.ts';

const LOOPS = 20;

export const deadline: Group = {
  name: 'deadline',
  title: 'A loop past its deadline, while another function is asked all the time: median and worst',
  async run(context) {
    const rows: Row[] = [];
    const engines = { jco: openJcoEngine, wasmtime: openWasmtimeEngine };
    for (const [name, open] of Object.entries(engines)) {
      const { answered, stopped, others } = await measureDeadlines(open, LOOPS);
      const text = ([middle, worst]: readonly [number, number]) => `${middle.toFixed(1)} ms, ${worst.toFixed(1)} ms`;
      context.print(`  ${name}: another function meanwhile ${text(others)}`);
      rows.push(untargeted(`answered 504 after the deadline, ${name}`, text(answered)));
      rows.push(untargeted(`core given back after the deadline, ${name}`, text(stopped)));
    }
    return rows;
  },
};
