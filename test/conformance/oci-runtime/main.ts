/**
 * The validation suite of the OCI runtime specification (https://github.com/opencontainers/runtime-tools): its `runtimetest`
 * inside of containers of a real node, with the configuration that hostd wrote, and its own programs over the runtime as hostd
 * calls it. Ends with 1 when a result is not as it should be and not in accepted.ts, or when one there has ceased to fail.
 */
import { readdirSync } from 'node:fs';
import { whyNoContainers } from '../../support/container-node.ts';
import { ACCEPTED, LEFT_OUT } from './accepted.ts';
import { insideContainers } from './inside.ts';
import { suitePrograms } from './programs.ts';
import { type ProgramResult, RuntimeShim } from './suite.ts';
import type { TapResult } from './tap.ts';

const count = (results: readonly TapResult[], state: TapResult['state']) =>
  results.filter((result) => result.state === state).length;

const counts = (results: readonly TapResult[]) =>
  `${count(results, 'passed')} passed, ${count(results, 'failed')} failed, ${count(results, 'skipped') + count(results, 'to do')} that the suite does not judge`;

/** How many results are not as they should be. */
function judgeInside(kinds: ReadonlyMap<string, readonly TapResult[]>): number {
  let wrong = 0;
  for (const [kind, results] of kinds) {
    console.log(`a container ${kind}: ${counts(results)}`);
    for (const { what, state } of results) if (state === 'failed') console.log(`  FAILED ${what}`);
    wrong += count(results, 'failed');
    // A container that was not looked at would be without failures as well.
    if (count(results, 'passed') === 0) wrong++;
  }
  return wrong;
}

function judgeProgram(program: string, { results, status, stderr }: ProgramResult): number {
  let wrong = 0;
  const accepted = ACCEPTED.filter((each) => each.program === program);
  const failed = new Set(results.filter(({ state }) => state === 'failed').map(({ what }) => what));
  console.log(`${program}: ${counts(results)}`);
  for (const what of failed) {
    const found = accepted.find((each) => each.what === what);
    if (!found) wrong++;
    console.log(found ? `  accepted ${what}: ${found.why}` : `  FAILED ${what}`);
  }
  for (const { what } of accepted.filter((each) => !each.machine && !failed.has(each.what))) {
    console.log(`  passed ${what} (take it off the list of accepted results)`);
    wrong++;
  }
  // One that is about what is refused prints nothing, and its status says whether it was.
  if (status === 0) return wrong;
  console.log(`  FAILED with ${status}: ${stderr.trim().slice(0, 500)}`);
  return wrong + 1;
}

async function judgePrograms(programs: string): Promise<number> {
  const shim = await RuntimeShim.make();
  const all: TapResult[] = [];
  let wrong = 0;
  try {
    const names = readdirSync(programs).filter(
      (name) => /^[a-z_]+$/.test(name) && !['built', 'runtimetest'].includes(name),
    );
    for (const program of names) {
      const why = LEFT_OUT[program];
      if (why !== undefined) {
        console.log(`${program}: left out, ${why}`);
        continue;
      }
      const result = await shim.validate(programs, program);
      all.push(...result.results);
      wrong += judgeProgram(program, result);
    }
    const run = names.filter((name) => !(name in LEFT_OUT)).length;
    console.log(`${run} of ${names.length} programs: ${counts(all)}`);
  } finally {
    shim.remove();
  }
  return all.length === 0 ? wrong + 1 : wrong;
}

try {
  const why = await whyNoContainers();
  if (why !== null) throw new Error(`containers cannot run here: ${why}`);
  const programs = suitePrograms();
  const wrong = judgeInside(await insideContainers(programs)) + (await judgePrograms(programs));
  console.log(`oci-runtime: ${wrong} not as accepted`);
  process.exit(wrong === 0 ? 0 : 1);
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
