/**
 * `npm run simulate -- [--nodes N] [--seed S] [--policy P] [--minutes M] [--faults] [--svg FILE]`: the scheduler over simulated
 * nodes. Standard output is the same for the same arguments, byte for byte; what it took goes to standard error.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Run, reportPlot, reportTable } from './report.ts';
import { POLICIES, simulate } from './simulate.ts';

function fail(why: string): never {
  console.error(`${why} [USAGE]`);
  process.exit(2);
}

function whole(text: string, name: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) {
    fail(`--${name} must be a whole number from ${least} to ${most}`);
  }
  return value;
}

function options() {
  try {
    return parseArgs({
      options: {
        nodes: { type: 'string', default: '1' },
        seed: { type: 'string', default: '1' },
        policy: { type: 'string' },
        minutes: { type: 'string', default: '360' },
        faults: { type: 'boolean', default: false },
        svg: { type: 'string' },
      },
    }).values;
  } catch (error) {
    return fail((error as Error).message.split('\n', 1)[0]!);
  }
}

const given = options();
const nodes = whole(given.nodes, 'nodes', 1, 10_000);
const seed = whole(given.seed, 'seed', 0, 2 ** 31 - 1);
const minutes = whole(given.minutes, 'minutes', 1, 14 * 1440);
/** Of those that are compared when none is named. */
const USUAL = ['fixed', 'zero', 'skerry'];
const policies = POLICIES.filter(({ name }) =>
  given.policy === undefined ? USUAL.includes(name) : given.policy === 'all' || given.policy === name,
);
if (policies.length === 0) {
  fail(`there is no policy ${given.policy}; there are: all, ${POLICIES.map(({ name }) => name).join(', ')}`);
}
const runs = policies.map((policy): Run => {
  const began = performance.now();
  const tally = simulate({ nodes, seed, minutes, policy, faults: given.faults });
  console.error(`${policy.name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  return { policy: policy.name, tally };
});
process.stdout.write(`${nodes} nodes, ${minutes} minutes, seed ${seed}${given.faults ? ', with faults' : ''}\n\n`);
process.stdout.write(reportTable(runs));
if (given.svg !== undefined) writeFileSync(given.svg, reportPlot(runs));
