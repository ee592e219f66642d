/** One run: nodes, functions and faults under a policy, from a seed. The same arguments come to the same result. */
import type { MonitorKind } from '../../monitor/load-sample.ts';
import type { Discipline } from '../admission/discipline.ts';
import { chooseNode } from '../balancing/choose-node.ts';
import { DecisionLog } from '../decisions.ts';
import { Autoscaler, MONITOR_MAKERS } from '../scaling/autoscaler.ts';
import { makeFunctions, nextArrivalMs, type SimulatedFunction } from './load-model.ts';
import { randomFrom } from './random.ts';
import { newTally, SimulatedNode, type Tally } from './simulated-node.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface SimulatedPolicy {
  readonly name: string;
  readonly monitors: readonly MonitorKind[];
  readonly keepAliveMs: number;
  readonly discipline: Discipline;
}

const MINUTE_MS = 60_000;

export const POLICIES: readonly SimulatedPolicy[] = [
  { name: 'fixed', monitors: [], keepAliveMs: 10 * MINUTE_MS, discipline: 'fcfs' },
  { name: 'zero', monitors: [], keepAliveMs: MINUTE_MS, discipline: 'fcfs' },
  { name: 'statistical', monitors: ['statistical'], keepAliveMs: MINUTE_MS, discipline: 'fcfs' },
  { name: 'model', monitors: ['model'], keepAliveMs: MINUTE_MS, discipline: 'fcfs' },
  { name: 'learned', monitors: ['learned'], keepAliveMs: MINUTE_MS, discipline: 'fcfs' },
  { name: 'skerry', monitors: ['statistical', 'model', 'learned'], keepAliveMs: MINUTE_MS, discipline: 'sjf' },
];

export interface SimulationOptions {
  readonly nodes: number;
  readonly seed: number;
  readonly minutes: number;
  readonly policy: SimulatedPolicy;
  /** A slow node, a partition, a crash; each in its time. */
  readonly faults: boolean;
  /** Counted from then on: before that nothing is learned yet. */
  readonly fromMinute?: number;
}

/** Functions of a node; where nodes are very many, one each. */
const FUNCTIONS = { perNode: 40, most: 2000 };
const SLOTS = 4;
const MEMORY_BYTES = 8 * 2 ** 30;
/** How often the monitors look, in milliseconds. */
const LOOK_MS = 10_000;

export function simulate({ nodes: count, seed, minutes, policy, faults, fromMinute = 0 }: SimulationOptions): Tally {
  const clock = new VirtualClock();
  const random = randomFrom(seed);
  const tally = newTally();
  const nodes = Array.from({ length: count }, () => {
    // Each draws from its own row: what one policy does on a node does not change what comes to another.
    const own = randomFrom(Math.floor(random() * 2 ** 31));
    const { discipline, keepAliveMs } = policy;
    return new SimulatedNode({
      clock,
      discipline,
      slots: SLOTS,
      memoryBytes: MEMORY_BYTES,
      keepAliveMs,
      random: own,
      tally,
    });
  });
  for (const node of nodes) node.rttMs = 1 + random() * 20;
  const functions = makeFunctions(Math.max(count, Math.min(FUNCTIONS.most, FUNCTIONS.perNode * count)), random);
  for (const [i, each] of functions.entries()) {
    const [coming, placing] = [random(), random()].map((draw) => randomFrom(Math.floor(draw * 2 ** 31)));
    const home = nodes[i % count]!;
    // What comes does not hang on where it is served.
    drive(clock, each, coming!, () => send(each, home, nodes, placing!));
  }
  const monitors = new Map(policy.monitors.map((kind) => [kind, MONITOR_MAKERS[kind]]));
  if (monitors.size > 0) watch(clock, nodes, new Autoscaler({ monitors, decisions: new DecisionLog() }));
  if (faults) breakThings(clock, nodes, minutes);
  clock.after(fromMinute * MINUTE_MS, () => Object.assign(tally, newTally()));
  clock.runUntil(minutes * MINUTE_MS);
  for (const node of nodes) node.close();
  return tally;
}

function drive(clock: VirtualClock, of: SimulatedFunction, random: () => number, send: () => void): void {
  const next = () => {
    clock.after(nextArrivalMs(of, clock.now(), random), () => {
      const requests = of.trigger === 'burst' ? of.burst : 1;
      for (let i = 0; i < requests; i++) clock.after(random() * 500 * (requests - 1), send);
      next();
    });
  };
  next();
}

function send(of: SimulatedFunction, home: SimulatedNode, nodes: readonly SimulatedNode[], random: () => number): void {
  const peers = nodes.length > 1 && home.reachable ? nodes : [];
  const other = chooseNode(home.waitMs, peers, random);
  if (other && other !== home) {
    home.tally.spilled++;
    other.arrive(of, other.rttMs);
  } else home.arrive(of, 0);
}

function watch(clock: VirtualClock, nodes: readonly SimulatedNode[], scaler: Autoscaler): void {
  const look = () => {
    for (const node of nodes) scaler.tick(clock.now(), node.scaled);
    clock.after(LOOK_MS, look);
  };
  clock.after(LOOK_MS, look);
}

function breakThings(clock: VirtualClock, nodes: readonly SimulatedNode[], minutes: number): void {
  const at = (part: number, call: () => void) => clock.after(minutes * MINUTE_MS * part, call);
  const [slow, alone, crashing] = [nodes[0]!, nodes[1 % nodes.length]!, nodes[2 % nodes.length]!];
  at(0.3, () => {
    slow.slowness = 4;
  });
  at(0.4, () => {
    slow.slowness = 1;
  });
  at(0.5, () => {
    alone.reachable = false;
  });
  at(0.6, () => {
    alone.reachable = true;
  });
  at(0.7, () => crashing.crash());
}
