import { cpuText, ratioOf, sideBySide } from '../measure/side-by-side.ts';
import { atLeast, type Group, untargeted } from '../row.ts';
import { skerry } from '../servers/skerry.ts';
import { TUNED, wasmtimeServe } from '../servers/wasmtime-serve.ts';

const REUSE = 128;
const TARGET = 0.5;

export const rustReuse: Group = {
  name: 'reuse',
  title: `Rust hello, an instance for ${REUSE} requests`,
  async run(context) {
    const component = await context.rust();
    const flags = [...TUNED, '--max-instance-reuse-count', String(REUSE)];
    const [ours, theirs] = await sideBySide(
      [
        skerry(`Skerry, --reuse ${REUSE}`, 'wasmtime', component, '/hello', { reuse: REUSE }),
        wasmtimeServe(`wasmtime serve, tuned, reused ${REUSE} times`, component, '/hello', flags),
      ],
      context,
    );
    const ratio = ratioOf(ours!, theirs!);
    return [
      atLeast(`Rust hello, --reuse ${REUSE}: to the same of wasmtime serve`, ratio.median, TARGET, ratio.text),
      untargeted('  CPU a request: Skerry : wasmtime serve', [ours!, theirs!].map(cpuText).join(' : ')),
    ];
  },
};
