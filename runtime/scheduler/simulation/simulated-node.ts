/**
 * A node of a simulation: the scheduler itself (admission, autoscaler, who is ended for memory, which node) over sandboxes that
 * are but numbers.
 */
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { ServiceTimes } from '../../monitor/learned/service-times.ts';
import { Admission } from '../admission/admission.ts';
import type { Discipline } from '../admission/discipline.ts';
import type { Lane } from '../admission/lane.ts';
import type { Waiter } from '../admission/waiter.ts';
import { chooseVictims, type Holder } from '../allocation/memory-budget.ts';
import type { Peer } from '../balancing/choose-node.ts';
import type { Scaled } from '../scaling/autoscaler.ts';
import { logNormal, type Random } from './distributions.ts';
import type { SimulatedFunction } from './load-model.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface NodeOptions {
  readonly clock: VirtualClock;
  readonly discipline: Discipline;
  /** Requests that its cores serve at once. */
  readonly slots: number;
  readonly memoryBytes: number;
  /** How long an instance that nobody uses is kept, in milliseconds. */
  readonly keepAliveMs: number;
  readonly random: Random;
  readonly tally: Tally;
}

/** What a run comes to. */
export interface Tally {
  /** From arrival to answer, in milliseconds. */
  readonly latencies: number[];
  /** By function: times in the system over times of service. */
  readonly slowdowns: Map<string, { sum: number; count: number }>;
  coldStarts: number;
  served: number;
  refused: number;
  lost: number;
  spilled: number;
  /** Of instances, those that serve and those that do not, in bytes times milliseconds. */
  memoryTime: number;
  idleMemoryTime: number;
}

export function newTally(): Tally {
  const counts = { coldStarts: 0, served: 0, refused: 0, lost: 0, spilled: 0, memoryTime: 0, idleMemoryTime: 0 };
  return { latencies: [], slowdowns: new Map(), ...counts };
}

interface Instance {
  readonly since: number;
  busy: boolean;
  idleSince: number;
}

const TIMEOUT_MS = 30_000;

/** One function on one node. */
class Deployed implements Scaled {
  readonly of: SimulatedFunction;
  readonly lane: Lane;
  readonly times = new ServiceTimes();
  readonly instances: Instance[] = [];
  readonly concurrency = 1;
  readonly most = 20;
  readonly objectiveMs = 500;
  advised = 0;
  readonly #node: SimulatedNode;

  constructor(node: SimulatedNode, of: SimulatedFunction, lane: Lane) {
    this.#node = node;
    this.of = of;
    this.lane = lane;
  }

  get workload(): string {
    return this.of.name;
  }

  get load(): Lane {
    return this.lane;
  }

  get instanceCount(): number {
    return this.instances.length;
  }

  advise(instances: number, quiet: boolean): void {
    this.advised = instances;
    if (quiet) this.#node.letGo(this);
    while (this.instances.length < instances && this.#node.prewarm(this));
  }
}

class SimulatedRequest implements Waiter {
  readonly nested = false;
  readonly aborted = false;
  readonly deadline: number;
  readonly expectedMs: number;
  readonly #node: SimulatedNode;
  readonly #deployed: Deployed;
  readonly #arrivedAt: number;
  readonly #wayMs: number;

  /** `wayMs`: to the node and back. */
  constructor(node: SimulatedNode, deployed: Deployed, now: number, wayMs: number) {
    this.#node = node;
    this.#deployed = deployed;
    this.#arrivedAt = now;
    this.#wayMs = wayMs;
    this.deadline = now + TIMEOUT_MS;
    this.expectedMs = deployed.times.expect(0);
  }

  run(now: number): void {
    this.#node.serve(this.#deployed, now, this.#arrivedAt, this.#wayMs);
  }

  refuse(_error: SkerryError): void {
    this.#node.tally.refused++;
  }
}

export class SimulatedNode implements Peer {
  readonly tally: Tally;
  /** What faults change. */
  slowness = 1;
  reachable = true;
  rttMs = 0;
  readonly #options: NodeOptions;
  readonly #deployed = new Map<string, Deployed>();
  #admission: Admission;
  #usedBytes = 0;
  /** Of what runs: a crash makes another. */
  #life = 0;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.tally = options.tally;
    this.#admission = this.#newAdmission();
  }

  #newAdmission(): Admission {
    const { clock, discipline, slots } = this.#options;
    return new Admission({ clock, discipline, concurrency: slots, queue: 4096 });
  }

  get waitMs(): number {
    const { running, waiting } = this.#admission;
    const { slots } = this.#options;
    if (running < slots) return 0;
    let work = 0;
    for (const { lane } of this.#deployed.values()) work += lane.queued * (lane.meanMs || 50);
    return (work + (waiting === 0 ? 25 : 0)) / slots;
  }

  get scaled(): Iterable<Scaled> {
    return this.#deployed.values();
  }

  arrive(of: SimulatedFunction, wayMs: number): void {
    const now = this.#options.clock.now();
    const deployed = this.#deployedOf(of);
    deployed.lane.enter(new SimulatedRequest(this, deployed, now, wayMs), now);
  }

  serve(deployed: Deployed, now: number, arrivedAt: number, wayMs: number): void {
    const { clock, random } = this.#options;
    const { of } = deployed;
    const warm = deployed.instances.find(({ busy }) => !busy);
    const instance = warm ?? this.#start(deployed);
    const serviceMs = logNormal(random, of.medianMs, of.sigma) * this.slowness;
    const startMs = warm ? 0 : of.startMs * this.slowness;
    if (!warm) this.tally.coldStarts++;
    if (warm) this.tally.idleMemoryTime += (now - warm.idleSince) * of.memoryBytes;
    if (instance) instance.busy = true;
    const life = this.#life;
    clock.after(startMs + serviceMs, () => {
      if (life !== this.#life) {
        this.tally.lost++;
        return;
      }
      const ended = clock.now();
      this.#note(of, ended - arrivedAt + wayMs, serviceMs);
      deployed.times.observe(0, serviceMs);
      if (instance) this.#rest(deployed, instance);
      deployed.lane.leave(serviceMs);
    });
  }

  /** An instance ahead of any request; false when there is no memory for one. */
  prewarm(deployed: Deployed): boolean {
    const instance = this.#start(deployed);
    if (instance) this.#rest(deployed, instance);
    return instance !== null;
  }

  /** Ends what is idle. */
  letGo(deployed: Deployed): void {
    const now = this.#options.clock.now();
    for (const instance of deployed.instances.filter(({ busy }) => !busy)) this.#end(deployed, instance, now);
  }

  /** All that runs and waits is lost. */
  crash(): void {
    const now = this.#options.clock.now();
    this.#life++;
    this.tally.lost += this.#admission.waiting;
    for (const deployed of this.#deployed.values())
      for (const instance of [...deployed.instances]) this.#end(deployed, instance, now);
    this.#deployed.clear();
    this.#admission = this.#newAdmission();
  }

  /** What instances that are left have cost. */
  close(): void {
    const now = this.#options.clock.now();
    for (const deployed of this.#deployed.values())
      for (const instance of [...deployed.instances]) this.#end(deployed, instance, now);
  }

  #deployedOf(of: SimulatedFunction): Deployed {
    let deployed = this.#deployed.get(of.name);
    if (!deployed) {
      const { name, priority } = of;
      const lane = this.#admission.lane({ name, concurrency: 20, limit: 512, priority, timeoutMs: TIMEOUT_MS });
      deployed = new Deployed(this, of, lane);
      this.#deployed.set(name, deployed);
    }
    return deployed;
  }

  /** Null when it has to be served without memory of its own being kept: none could be made free. */
  #start(deployed: Deployed): Instance | null {
    const now = this.#options.clock.now();
    const { memoryBytes, priority } = deployed.of;
    const missing = this.#usedBytes + memoryBytes - this.#options.memoryBytes;
    if (missing > 0) {
      const victims = chooseVictims(missing, priority, this.#idleHolders(now));
      if (!victims) return null;
      for (const victim of victims) void victim.evict();
    }
    const instance: Instance = { since: now, busy: false, idleSince: now };
    deployed.instances.push(instance);
    this.#usedBytes += memoryBytes;
    return instance;
  }

  #idleHolders(now: number): Holder[] {
    return [...this.#deployed.values()].flatMap((deployed) =>
      deployed.instances
        .filter(({ busy }) => !busy)
        .map((instance) => ({
          workload: deployed.workload,
          bytes: deployed.of.memoryBytes,
          priority: deployed.of.priority,
          state: 'idle' as const,
          reserved: false,
          idleSince: instance.idleSince,
          evict: async () => this.#end(deployed, instance, now),
        })),
    );
  }

  #rest(deployed: Deployed, instance: Instance): void {
    const { clock, keepAliveMs } = this.#options;
    instance.busy = false;
    instance.idleSince = clock.now();
    const restingSince = instance.idleSince;
    const check = () => {
      if (instance.busy || instance.idleSince !== restingSince || !deployed.instances.includes(instance)) return;
      if (deployed.instances.length <= deployed.advised) clock.after(10_000, check);
      else this.#end(deployed, instance, clock.now());
    };
    clock.after(keepAliveMs, check);
  }

  #end(deployed: Deployed, instance: Instance, now: number): void {
    const at = deployed.instances.indexOf(instance);
    if (at < 0) return;
    deployed.instances.splice(at, 1);
    const { memoryBytes } = deployed.of;
    this.#usedBytes -= memoryBytes;
    this.tally.memoryTime += (now - instance.since) * memoryBytes;
    if (!instance.busy) this.tally.idleMemoryTime += (now - instance.idleSince) * memoryBytes;
  }

  #note({ name }: SimulatedFunction, totalMs: number, serviceMs: number): void {
    this.tally.served++;
    this.tally.latencies.push(totalMs);
    const slowdown = this.tally.slowdowns.get(name) ?? { sum: 0, count: 0 };
    slowdown.sum += totalMs / serviceMs;
    slowdown.count++;
    this.tally.slowdowns.set(name, slowdown);
  }
}
