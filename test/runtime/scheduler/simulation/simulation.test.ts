import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../../../errors/project-root.ts';
import { POLICIES, type SimulationOptions, simulate } from '../../../../runtime/scheduler/simulation/simulate.ts';
import { VirtualClock } from '../../../../runtime/scheduler/simulation/virtual-clock.ts';

const policy = (name: string) => POLICIES.find((each) => each.name === name)!;
const options: SimulationOptions = { nodes: 2, seed: 7, minutes: 600, policy: policy('fixed'), faults: false };

function run(...args: string[]) {
  const main = join(projectRoot, 'runtime', 'scheduler', 'simulation', 'main.ts');
  return spawnSync(process.execPath, ['--import', 'tsx', main, ...args], { encoding: 'utf8', cwd: projectRoot });
}

test('the same arguments print the same, byte for byte, and another seed something else; a plot is written', () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-simulation-'));
  try {
    const args = ['--nodes', '3', '--minutes', '90', '--faults'];
    const first = run(...args, '--seed', '5', '--svg', join(folder, 'plot.svg'));
    assert.is(first.status, 0, first.stderr);
    assert.is(run(...args, '--seed', '5').stdout, first.stdout);
    assert.is.not(run(...args, '--seed', '6').stdout, first.stdout);
    for (const column of ['p99 ms', 'cold starts', 'waste', 'fairness']) assert.match(first.stdout, column);
    assert.match(first.stderr, /skerry: [\d.]+ s/);
    assert.match(readFileSync(join(folder, 'plot.svg'), 'utf8'), /^<svg [\s\S]*<polyline[\s\S]*<\/svg>\n$/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('arguments that are none are refused in one line', () => {
  for (const args of [['--nodes', '0'], ['--nodes', 'many'], ['--policy', 'best'], ['--what'], ['--seed', '-1']]) {
    const { status, stdout, stderr } = run(...args);
    assert.is(status, 2, args.join(' '));
    assert.is(stdout, '');
    assert.match(stderr, /^[^\n]+ \[USAGE\]\n$/);
  }
});

test('what comes to a run is the same whatever the policy, and each request is served, refused or lost', () => {
  const totals = ['fixed', 'zero', 'learned'].map((name) => {
    const { served, refused, lost } = simulate({ ...options, policy: policy(name) });
    return served + refused + lost;
  });
  // Those that run at the very end are answered after it.
  assert.ok(Math.max(...totals) - Math.min(...totals) < 20, totals.join());
});

test('forecasts save cold starts that scaling to zero costs, and memory that a fixed keep-alive costs', () => {
  const of = (name: string) => simulate({ ...options, policy: policy(name), fromMinute: 240 });
  const [fixed, zero, learned] = [of('fixed'), of('zero'), of('learned')];
  assert.ok(learned.coldStarts < zero.coldStarts * 0.8, `${learned.coldStarts} ${zero.coldStarts}`);
  assert.ok(learned.memoryTime < fixed.memoryTime * 0.7);
});

test('a crash loses what ran on its node alone; a slow node and a partition lose nothing', () => {
  const { lost, served } = simulate({ ...options, nodes: 4, faults: true });
  assert.ok(lost < served * 0.01, `${lost} of ${served}`);
});

test('time passes from event to event, in order, and what was cancelled does not happen', () => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  const note = (name: string) => () => void seen.push(`${name} ${clock.now()}`);
  clock.after(20, note('b'));
  clock.after(10, note('a'));
  clock.after(20, note('c'));
  clock.after(15, note('never')).cancel();
  clock.after(10, () => void clock.after(1, note('within')));
  clock.runUntil(25);
  assert.equal(seen, ['a 10', 'within 11', 'b 20', 'c 20']);
  assert.is(clock.now(), 25);
});

test.run();
