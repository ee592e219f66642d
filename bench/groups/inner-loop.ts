import { openJcoEngine } from '../../runtime/drivers/wasm/jco/index.ts';
import { openWasmtimeEngine } from '../../runtime/drivers/wasm/wasmtime/index.ts';
import { measureInnerLoop, type Steps } from '../measure/inner-loop.ts';
import { type Group, type Row, untargeted } from '../row.ts';

const CHANGES = 3;

export const innerLoop: Group = {
  name: 'change',
  title: 'A one-line change of a JavaScript function, from its source to its first answer',
  async run(context) {
    const rows: Row[] = [];
    const engines = { jco: openJcoEngine, wasmtime: openWasmtimeEngine };
    for (const [name, open] of Object.entries(engines)) {
      const { first, next } = await measureInnerLoop(open, CHANGES);
      context.print(`  ${name}, the first: ${describe(first)}`);
      context.print(`  ${name}, each next: ${describe(next)}`);
      rows.push(untargeted(`a changed JavaScript function serves after, ${name}`, `${total(next).toFixed(0)} ms`));
    }
    return rows;
  },
};

function total(steps: Steps): number {
  return [...steps.values()].reduce((sum, ms) => sum + ms, 0);
}

function describe(steps: Steps): string {
  const each = [...steps].map(([step, ms]) => `${step} ${ms.toFixed(0)}`).join(', ');
  return `${total(steps).toFixed(0)} ms (${each})`;
}
