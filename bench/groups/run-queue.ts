import { DISCIPLINES, type Discipline } from '../../runtime/scheduler/admission/discipline.ts';
import { capacityOf, drawArrivals, type MixedLoad, type MixedRoute, sendArrivals } from '../measure/mixed-load.ts';
import { ratio } from '../measure/side-by-side.ts';
import { median } from '../measure/statistics.ts';
import { driveAtRate, type OpenLoopLoad } from '../measure/vegeta.ts';
import { drive } from '../measure/wrk.ts';
import { atLeast, type Context, type Group, type Row, untargeted } from '../row.ts';
import { SkerryNode } from '../servers/skerry.ts';

const BESIDE_A_HOG = 2;
const SHORTEST_FIRST = 2;
/** Requests a second to the short function: little, so that what is seen is the wait. */
const SHORT_RATE = 50;
const HOG_MS = 100;
const LOAD = 0.8;
/** CPU time of a request of each route, and how often it is asked: few requests are most of the work. */
const ROUTES = [
  { ms: 1, share: 0.78 },
  { ms: 6, share: 0.15 },
  { ms: 30, share: 0.055 },
  { ms: 150, share: 0.015 },
] as const;
/** Spread of the times within a route: sigma of the logarithm. */
const SIGMA = 0.5;

/** Functions of one component whose path says how many thousand turns of a loop they take. */
export const runQueue: Group = {
  name: 'queue',
  title: 'The run queue: a 1 ms function beside hogs, and four routes of heavy-tailed times, by each discipline',
  async run(context) {
    const component = await context.rust();
    return withNodes(async (nodes) => {
      await deployAll(nodes, component);
      const perMs = await turnsPerMillisecond(nodes.get('slice')!);
      context.print(`  ${perMs.toFixed(0)} thousand turns a millisecond`);
      return [...(await besideHogs(context, nodes, perMs)), ...(await mixed(context, nodes, perMs))];
    });
  },
};

/** Nodes of one discipline each, driven in turn, so that what disturbs the machine disturbs all of them. */
type Nodes = ReadonlyMap<Discipline, SkerryNode>;

async function withNodes<T>(work: (nodes: Nodes) => Promise<T>): Promise<T> {
  const nodes = new Map<Discipline, SkerryNode>();
  try {
    for (const discipline of DISCIPLINES) {
      nodes.set(discipline, await SkerryNode.start('wasmtime', ['--discipline', discipline]));
    }
    return await work(nodes);
  } finally {
    for (const node of nodes.values()) await node.discard();
  }
}

async function deployAll(nodes: Nodes, component: string): Promise<void> {
  for (const node of nodes.values()) {
    const artifact = await node.upload(component);
    for (const name of ['short', 'hog']) await node.deploy(name, artifact);
    for (const at of ROUTES.keys()) await node.deploy(`r${at}`, artifact, { queue: 10_000, timeout: '60s' });
  }
}

/** Thousands of turns of the loop that take a millisecond here when nothing else runs. */
async function turnsPerMillisecond(node: SkerryNode): Promise<number> {
  const turns = 20_000;
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    const from = performance.now();
    await fetch(node.url('short', `/burn/${turns}`)).then((answer) => answer.text());
    times.push(performance.now() - from);
  }
  return turns / Math.min(...times);
}

/** One round of a discipline: the same requests at the same rate from the same generator, which runs on the same cores. */
interface BesideHogs {
  readonly alone: OpenLoopLoad;
  readonly beside: OpenLoopLoad;
}

async function besideHogs(context: Context, nodes: Nodes, perMs: number): Promise<Row[]> {
  const seen = new Map(DISCIPLINES.map((discipline) => [discipline, [] as BesideHogs[]]));
  for (let round = 0; round < context.rounds; round++) {
    for (const [discipline, node] of nodes) {
      const short = node.url('short', `/burn/${Math.round(perMs)}`);
      const hog = node.url('hog', `/burn/${Math.round(HOG_MS * perMs)}`);
      await driveAtRate(short, SHORT_RATE, 1);
      const alone = await driveAtRate(short, SHORT_RATE, 2 * context.seconds);
      const hogs = drive(hog, 2 * context.seconds + 1);
      const beside = await driveAtRate(short, SHORT_RATE, 2 * context.seconds);
      await hogs;
      const text = ({ p50Ms, p99Ms }: OpenLoopLoad) => `p50 ${p50Ms.toFixed(2)} ms  p99 ${p99Ms.toFixed(2)} ms`;
      context.print(`  ${discipline}: alone ${text(alone)}, beside hogs ${text(beside)}`);
      seen.get(discipline)!.push({ alone, beside });
    }
  }
  const p99 = (load: keyof BesideHogs) =>
    DISCIPLINES.map((discipline) => {
      const middle = median(seen.get(discipline)!.map((each) => each[load].p99Ms));
      return `${discipline} ${middle.toFixed(1)} ms`;
    }).join(', ');
  const ratios = DISCIPLINES.map((discipline) => {
    const { median: middle, text } = ratio(
      seen.get(discipline)!.map(({ alone, beside }) => beside.p99Ms / alone.p99Ms),
    );
    const what = `p99 of a 1 ms function beside hogs, to alone: ${discipline}`;
    if (discipline !== 'slice') return untargeted(what, text);
    return { what, figure: text, target: `at most ${BESIDE_A_HOG}x`, holds: middle <= BESIDE_A_HOG };
  });
  return [...ratios, untargeted('  p99 alone', p99('alone')), untargeted('  p99 beside hogs', p99('beside'))];
}

function mix(perMs: number): MixedRoute[] {
  return ROUTES.map(({ ms, share }, at) => ({
    share,
    path: () => {
      const [one, other] = [Math.random(), Math.random()];
      // Normal by Box and Muller; the mean of the log-normal is the route's.
      const normal = Math.sqrt(-2 * Math.log(1 - one)) * Math.cos(2 * Math.PI * other);
      const scale = Math.exp(SIGMA * normal - SIGMA ** 2 / 2);
      return `/r${at}/burn/${Math.max(1, Math.round(ms * perMs * scale))}`;
    },
  }));
}

/** The same requests, at the same times, by each discipline. */
async function mixed(context: Context, nodes: Nodes, perMs: number): Promise<Row[]> {
  const routes = mix(perMs);
  const seen = new Map(DISCIPLINES.map((discipline) => [discipline, [] as MixedLoad[]]));
  for (let round = 0; round < context.rounds; round++) {
    const capacities: number[] = [];
    for (const node of nodes.values()) {
      // What each route takes is learned by this too.
      capacities.push(await capacityOf(originOf(node), routes, 8, 3));
    }
    const capacity = median(capacities);
    context.print(`  all that it can do: ${capacity.toFixed(0)} requests/s of the mix`);
    const arrivals = drawArrivals(routes, LOAD * capacity, 5 * context.seconds);
    for (const [discipline, node] of nodes) {
      const load = await sendArrivals(originOf(node), arrivals);
      const { meanMs, p50Ms, worstMs, failed } = load;
      const times = `mean ${meanMs.toFixed(1)} ms  p50 ${p50Ms.toFixed(1)} ms  worst ${worstMs.toFixed(0)} ms`;
      context.print(`  ${discipline}: ${times}${failed > 0 ? `  ${failed} FAILED` : ''}`);
      seen.get(discipline)!.push(load);
    }
  }
  const means = (discipline: Discipline) => seen.get(discipline)!.map(({ meanMs }) => meanMs);
  const worst = (discipline: Discipline) => Math.max(...seen.get(discipline)!.map(({ worstMs }) => worstMs));
  const to = (discipline: Discipline) => ratio(means('fcfs').map((mean, round) => mean / means(discipline)[round]!));
  const [sjf, slice] = [to('sjf'), to('slice')];
  const each = (figure: (discipline: Discipline) => string) =>
    DISCIPLINES.map((discipline) => `${discipline} ${figure(discipline)}`).join(', ');
  return [
    atLeast('mean response at 80 % load, four routes: fcfs to sjf', sjf.median, SHORTEST_FIRST, sjf.text),
    untargeted('  fcfs to slice', slice.text),
    untargeted(
      '  mean response',
      each((discipline) => `${median(means(discipline)).toFixed(1)} ms`),
    ),
    untargeted(
      '  worst response',
      each((discipline) => `${worst(discipline).toFixed(0)} ms`),
    ),
  ];
}

function originOf(node: SkerryNode): string {
  return new URL(node.url('r0', '/')).origin;
}
