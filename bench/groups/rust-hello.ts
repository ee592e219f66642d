import { cpuText, ratioOf, sideBySide } from '../measure/side-by-side.ts';
import { atLeast, type Group, untargeted } from '../row.ts';
import { bareHono } from '../servers/bare-hono.ts';
import { skerry } from '../servers/skerry.ts';
import { TUNED, wasmtimeServe } from '../servers/wasmtime-serve.ts';

/** Ratios promised for a fresh instance each: to the peer as it comes, and with the same settings of its pool. */
const AS_IT_COMES = 2;
const TUNED_THE_SAME = 0.9;

export const rustHello: Group = {
  name: 'rust',
  title: 'Rust hello through the whole gateway, a fresh instance for each request',
  async run(context) {
    const component = await context.rust();
    const [ours, plain, tuned, hono] = await sideBySide(
      [
        skerry('Skerry', 'wasmtime', component, '/hello'),
        wasmtimeServe('wasmtime serve as it comes', component, '/hello'),
        wasmtimeServe('wasmtime serve, pool tuned the same', component, '/hello', TUNED),
        bareHono,
      ],
      context,
    );
    const toPlain = ratioOf(ours!, plain!);
    const toTuned = ratioOf(ours!, tuned!);
    const cpu = [ours!, plain!, tuned!].map(cpuText).join(' : ');
    return [
      atLeast('Rust hello, fresh: to wasmtime serve as it comes', toPlain.median, AS_IT_COMES, toPlain.text),
      atLeast('Rust hello, fresh: to wasmtime serve, tuned', toTuned.median, TUNED_THE_SAME, toTuned.text),
      untargeted('  CPU a request: Skerry : as it comes : tuned', cpu),
      untargeted('  to Hono with no sandbox', ratioOf(ours!, hono!).text),
    ];
  },
};
