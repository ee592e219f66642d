import { cpuText, ratioOf, sideBySide } from '../measure/side-by-side.ts';
import { atLeast, type Group, untargeted } from '../row.ts';
import { jcoServe } from '../servers/jco-serve.ts';
import { skerry } from '../servers/skerry.ts';

const ISOLATED = 3;

export const jco: Group = {
  name: 'jco',
  title: 'Rust hello on the jco engine, a fresh instance for each request',
  async run(context) {
    const component = await context.rust();
    const [ours, isolated, shared] = await sideBySide(
      [
        skerry('Skerry, jco engine', 'jco', component, '/hello'),
        jcoServe('jco serve, requests isolated', component, '/hello', ['--isolate-requests', 'instance']),
        jcoServe('jco serve as it comes, one instance for all', component, '/hello'),
      ],
      context,
    );
    const ratio = ratioOf(ours!, isolated!);
    return [
      atLeast('Rust hello on jco, fresh: to jco serve, isolated', ratio.median, ISOLATED, ratio.text),
      untargeted('  CPU a request: Skerry : jco serve, isolated', [ours!, isolated!].map(cpuText).join(' : ')),
      untargeted('  to jco serve, one instance for all', ratioOf(ours!, shared!).text),
    ];
  },
};
