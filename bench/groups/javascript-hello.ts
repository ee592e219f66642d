import { cpuText, ratioOf, sideBySide } from '../measure/side-by-side.ts';
import { atLeast, type Group, untargeted } from '../row.ts';
import { plainJavaScript } from '../servers/plain-javascript.ts';
import { skerry } from '../servers/skerry.ts';
import { TUNED, wasmtimeServe } from '../servers/wasmtime-serve.ts';
import { workerd } from '../servers/workerd.ts';

const AS_IT_COMES = 2.5;

export const javaScriptHello: Group = {
  name: 'javascript',
  title: 'JavaScript hello (13 MB), a fresh instance for each request',
  async run(context) {
    const component = await plainJavaScript();
    const [ours, plain, tuned, isolate] = await sideBySide(
      [
        skerry('Skerry', 'wasmtime', component, '/'),
        wasmtimeServe('wasmtime serve as it comes', component, '/'),
        wasmtimeServe('wasmtime serve, pool tuned the same', component, '/', TUNED),
        workerd,
      ],
      context,
    );
    const toPlain = ratioOf(ours!, plain!);
    return [
      atLeast('JavaScript hello, fresh: to wasmtime serve as it comes', toPlain.median, AS_IT_COMES, toPlain.text),
      untargeted('  to wasmtime serve, tuned', ratioOf(ours!, tuned!).text),
      untargeted('  CPU a request: Skerry : as it comes : tuned', [ours!, plain!, tuned!].map(cpuText).join(' : ')),
      untargeted('  to workerd, one isolate for all', ratioOf(ours!, isolate!).text),
    ];
  },
};
