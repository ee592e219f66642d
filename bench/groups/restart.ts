import { get } from 'node:http';
import { median } from '../measure/statistics.ts';
import { atMost, type Context, type Group, type Row } from '../row.ts';
import { SkerryNode } from '../servers/skerry.ts';

const RESTARTS = 5;
/** Requests of which the median is a warm answer. */
const WARM = 21;
/** Milliseconds above a warm answer. */
const RUST_TARGET = 10;
const JAVASCRIPT_TARGET = 40;

export const restart: Group = {
  name: 'restart',
  title: 'The first answer after a restart, with native code kept',
  async run(context) {
    return [
      await measure('Rust', await context.rust(), '/hello', RUST_TARGET, context),
      await measure('JavaScript (13 MB)', await context.javaScript(), '/', JAVASCRIPT_TARGET, context),
    ];
  },
};

async function measure(
  language: string,
  component: string,
  path: string,
  target: number,
  context: Context,
): Promise<Row> {
  const node = await SkerryNode.start('wasmtime');
  const above: number[] = [];
  try {
    await node.deploy('bench', await node.upload(component));
    await timeToAnswer(node.url('bench', path));
    for (let round = 0; round < RESTARTS; round++) {
      await node.down();
      await node.up();
      const first = await timeToAnswer(node.url('bench', path));
      const warm: number[] = [];
      for (let i = 0; i < WARM; i++) warm.push(await timeToAnswer(node.url('bench', path)));
      above.push(first - median(warm));
      context.print(`  ${language}: first ${first.toFixed(1)} ms, warm ${median(warm).toFixed(1)} ms`);
    }
  } finally {
    await node.discard();
  }
  const spread = `${median(above).toFixed(1)} ms (${Math.min(...above).toFixed(1)}-${Math.max(...above).toFixed(1)})`;
  return atMost(`first answer after a restart, above a warm one: ${language}`, median(above), target, 'ms', spread);
}

/** Milliseconds from a new connection to the end of the answer. */
function timeToAnswer(url: string): Promise<number> {
  const from = performance.now();
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false }, (response) => {
      response.resume();
      response.once('end', () => {
        if (response.statusCode === 200) resolve(performance.now() - from);
        else reject(new Error(`${url} was answered ${response.statusCode}`));
      });
    });
    request.once('error', reject);
  });
}
