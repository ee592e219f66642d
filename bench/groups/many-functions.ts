import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deployMany } from '../measure/deploy-many.ts';
import { ratio } from '../measure/side-by-side.ts';
import { drive } from '../measure/wrk.ts';
import { atLeast, type Group } from '../row.ts';
import { SkerryNode } from '../servers/skerry.ts';

const FUNCTIONS = 1000;
const TARGET = 0.8;

export const manyFunctions: Group = {
  name: 'many',
  title: `${FUNCTIONS} functions of one component, requests spread over all of them`,
  async run(context) {
    const node = await SkerryNode.start('wasmtime');
    const folder = await mkdtemp(join(tmpdir(), 'skerry-bench-'));
    try {
      const from = performance.now();
      const names = await deployMany(node, await node.upload(await context.rust()), FUNCTIONS);
      const took = performance.now() - from;
      context.print(`  deployed in ${(took / 1000).toFixed(1)} s`);
      const url = node.url('f0', '/hello');
      const spread = await script(folder, 'spread', names);
      const single = await script(folder, 'single', new Array(FUNCTIONS).fill('f0'));
      // Each is woken if it has become cold.
      await drive(url, 2, spread);
      const ratios: number[] = [];
      for (let round = 0; round < context.rounds; round++) {
        const all = await drive(url, context.seconds, spread);
        const one = await drive(url, context.seconds, single);
        const rates = `${Math.round(all.requestsPerSecond)} req/s over all, ${Math.round(one.requestsPerSecond)} to one`;
        context.print(`  ${rates}${all.errors + one.errors > 0 ? `, ${all.errors} and ${one.errors} ERRORS` : ''}`);
        ratios.push(all.requestsPerSecond / one.requestsPerSecond);
      }
      const { median, text } = ratio(ratios);
      return [atLeast(`${FUNCTIONS} functions: spread over all, to one of them`, median, TARGET, text)];
    } finally {
      await node.discard();
      await rm(folder, { recursive: true });
    }
  },
};

/** Has wrk ask for each of these in turn; the requests are made beforehand, so that both scripts cost the same. */
async function script(folder: string, name: string, names: readonly string[]): Promise<string> {
  const path = join(folder, `${name}.lua`);
  const lua = `local requests = {}
local at = 0
init = function(args)
  for name in string.gmatch("${names.join(' ')}", "%S+") do
    requests[#requests + 1] = wrk.format("GET", "/" .. name .. "/hello")
  end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
`;
  await writeFile(path, lua);
  return path;
}
