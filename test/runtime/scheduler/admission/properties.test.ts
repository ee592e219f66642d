/** What holds whatever comes: random loads over several workloads in virtual time, a seed each. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../../errors/skerry-error.ts';
import { Admission } from '../../../../runtime/scheduler/admission/admission.ts';
import { DISCIPLINES, type Discipline, SJF_PATIENCE } from '../../../../runtime/scheduler/admission/discipline.ts';
import type { Lane } from '../../../../runtime/scheduler/admission/lane.ts';
import type { Waiter } from '../../../../runtime/scheduler/admission/waiter.ts';
import { VirtualClock } from '../../../../runtime/scheduler/simulation/virtual-clock.ts';
import { chooseSeed, randomFrom } from '../../../support/random.ts';

const seed = chooseSeed('admission');
const AGEING_MS = 500;

class Request implements Waiter {
  readonly deadline: number;
  readonly expectedMs: number;
  readonly nested: boolean;
  readonly arrivedAt: number;
  readonly workload: Workload;
  aborted = false;
  ranAt: number | null = null;
  error: SkerryError | null = null;
  readonly #world: World;

  constructor(world: World, workload: Workload, timeoutMs: number, expectedMs: number, nested: boolean) {
    this.#world = world;
    this.workload = workload;
    this.arrivedAt = world.clock.now();
    this.deadline = this.arrivedAt + timeoutMs;
    this.expectedMs = expectedMs;
    this.nested = nested;
  }

  run(): void {
    assert.is(this.ranAt, null, 'run once');
    assert.is(this.error, null, 'not both refused and run');
    assert.not(this.aborted);
    this.ranAt = this.#world.clock.now();
    assert.ok(this.ranAt < this.deadline, 'in time');
    this.#world.began(this);
    this.#world.clock.after(this.expectedMs, () => this.#world.ended(this));
  }

  refuse(error: SkerryError): void {
    assert.is(this.ranAt, null, 'not both run and refused');
    assert.is(this.error, null, 'refused once');
    this.error = error;
  }
}

interface Workload {
  readonly lane: Lane;
  readonly priority: number;
  readonly concurrency: number;
  readonly queue: number;
}

interface WorldOptions {
  readonly discipline: Discipline;
  readonly concurrency: number;
  readonly queue: number;
}

class World {
  readonly clock = new VirtualClock();
  readonly requests: Request[] = [];
  readonly admission: Admission;
  readonly #concurrency: number;
  /** Called when a request gets its place. */
  onBegin: (request: Request) => void = () => {};
  nestedRunning = 0;

  constructor({ discipline, concurrency, queue }: WorldOptions) {
    this.#concurrency = concurrency;
    this.admission = new Admission({ clock: this.clock, discipline, concurrency, queue, ageingMs: AGEING_MS });
  }

  workload(priority: number, concurrency: number, queue: number, timeoutMs = 1e9): Workload {
    const lane = this.admission.lane({ name: `p${priority}`, concurrency, limit: queue, priority, timeoutMs });
    return { lane, priority, concurrency, queue };
  }

  arrive(workload: Workload, expectedMs: number, timeoutMs = 1e9, nested = false): Request {
    const request = new Request(this, workload, timeoutMs, expectedMs, nested);
    this.requests.push(request);
    workload.lane.enter(request, this.clock.now());
    return request;
  }

  began(request: Request): void {
    if (request.nested) this.nestedRunning++;
    const { lane, concurrency } = request.workload;
    assert.ok(lane.running <= concurrency, 'no more than the workload may have');
    assert.ok(this.admission.running - this.nestedRunning <= this.#concurrency, 'no more than the node has');
    this.onBegin(request);
  }

  ended(request: Request): void {
    if (request.nested) this.nestedRunning--;
    request.workload.lane.leave(this.clock.now() - request.ranAt!);
  }

  waiting(): Request[] {
    return this.requests.filter(({ ranAt, error, aborted }) => ranAt === null && !error && !aborted);
  }
}

function exponential(random: () => number, mean: number): number {
  return -mean * Math.log(1 - random());
}

test('each request is answered once, and no bound is ever passed', () => {
  for (let round = 0; round < 30; round++) {
    const random = randomFrom(seed + round);
    const discipline = DISCIPLINES[round % 3]!;
    const world = new World({ discipline, concurrency: 1 + Math.floor(random() * 8), queue: 40 });
    const workloads = Array.from({ length: 6 }, () =>
      world.workload(Math.floor(random() * 10), 1 + Math.floor(random() * 4), Math.floor(random() * 20), 2000),
    );
    for (let i = 0; i < 1500; i++) {
      world.clock.runUntil(world.clock.now() + exponential(random, 5));
      const workload = workloads[Math.floor(random() * workloads.length)]!;
      world.arrive(workload, 1 + exponential(random, 30), 20 + random() * 2000, random() < 0.1);
      assert.ok(workload.lane.queued <= workload.queue);
      assert.ok(world.admission.waiting <= 40);
      if (random() < 0.05) {
        const waiting = world.waiting();
        const leaver = waiting[Math.floor(random() * waiting.length)];
        if (leaver) leaver.aborted = true;
      }
      if (random() < 0.01) world.clock.runUntil(world.clock.now() + 5000);
    }
    world.clock.runUntil(world.clock.now() + 1e7);
    assert.is(world.admission.running, 0);
    assert.is(world.admission.waiting, 0);
    for (const { ranAt, error, aborted } of world.requests) assert.ok(ranAt !== null || error || aborted, 'answered');
  }
});

test('a less urgent request goes ahead of more urgent ones only when it has waited long enough for it', () => {
  for (let round = 0; round < 20; round++) {
    const random = randomFrom(seed + round);
    const world = new World({ discipline: 'fcfs', concurrency: 2, queue: 1e6 });
    const workloads = Array.from({ length: 10 }, (_, priority) => world.workload(priority, 2, 1e6));
    let overtaken = 0;
    world.onBegin = (request) => {
      const now = world.clock.now();
      if (request.arrivedAt === now) return;
      for (const other of world.waiting()) {
        const ahead = other.workload.priority - request.workload.priority;
        if (ahead <= 0) continue;
        overtaken++;
        // Its workload's own oldest is who is served.
        assert.ok(now - request.arrivedAt >= ahead * AGEING_MS - 1e-6, `${ahead} ${now - request.arrivedAt}`);
      }
    };
    for (let i = 0; i < 400; i++) {
      world.clock.runUntil(world.clock.now() + exponential(random, 8));
      world.arrive(workloads[Math.floor(random() * 10)]!, exponential(random, 30));
    }
    world.clock.runUntil(1e9);
    assert.ok(overtaken > 0, 'ageing was seen');
  }
});

test('nobody starves: the least urgent gets its turn while the most urgent come without end', () => {
  for (const discipline of DISCIPLINES) {
    const world = new World({ discipline, concurrency: 1, queue: 1e6 });
    const [urgent, patient] = [world.workload(9, 1, 1e6), world.workload(0, 1, 1e6)];
    for (let i = 0; i < 10; i++) world.arrive(urgent, 10);
    const last = world.arrive(patient, 10);
    for (let i = 0; i < 2000 && last.ranAt === null; i++) {
      world.arrive(urgent, 10);
      world.clock.runUntil(world.clock.now() + 10);
    }
    assert.ok(last.ranAt !== null, discipline);
    // Nine steps of ageing, and what was there before.
    assert.ok(last.ranAt! <= 9 * AGEING_MS + 200, `${discipline}: ${last.ranAt}`);
  }
});

test('workloads of one priority get the same time, whatever one request of theirs takes', () => {
  const world = new World({ discipline: 'fcfs', concurrency: 1, queue: 1e6 });
  const sizes = [1, 10, 100];
  const workloads = sizes.map(() => world.workload(5, 1, 1e6));
  for (let i = 0; i < 20_000; i++) world.arrive(workloads[0]!, 1);
  for (let i = 0; i < 2000; i++) world.arrive(workloads[1]!, 10);
  for (let i = 0; i < 200; i++) world.arrive(workloads[2]!, 100);
  world.clock.runUntil(30_000);
  const served = sizes.map(
    (size, i) =>
      size * world.requests.filter(({ workload, ranAt }) => workload === workloads[i] && ranAt !== null).length,
  );
  for (const ms of served) assert.ok(Math.abs(ms - 10_000) < 500, String(served));
});

test('shortest job first: short ones overtake a long one only as long as its patience lasts', () => {
  const run = (discipline: Discipline) => {
    const world = new World({ discipline, concurrency: 1, queue: 1e6 });
    const workload = world.workload(5, 1, 1e6);
    world.arrive(workload, 10);
    const long = world.arrive(workload, 100);
    const short = world.arrive(workload, 1);
    for (let i = 0; i < 20_000; i++) {
      world.clock.runUntil(world.clock.now() + 1);
      world.arrive(workload, 1);
    }
    return { longAt: long.ranAt!, shortAt: short.ranAt! };
  };
  assert.ok(run('fcfs').longAt < run('fcfs').shortAt);
  const { longAt, shortAt } = run('sjf');
  assert.ok(shortAt < longAt, `${shortAt} ${longAt}`);
  assert.ok(longAt <= 99 * SJF_PATIENCE + 1000, String(longAt));
});

test('a request that cannot be answered in time is refused at once, when what requests take is known', () => {
  const world = new World({ discipline: 'fcfs', concurrency: 8, queue: 1e6 });
  const workload = world.workload(5, 1, 1000);
  for (let i = 0; i < 10; i++) world.arrive(workload, 100);
  world.clock.runUntil(2000);
  for (let i = 0; i < 6; i++) world.arrive(workload, 100);
  const hopeless = world.arrive(workload, 100, 400);
  assert.is(hopeless.error?.code, 'DEADLINE_OUT_OF_REACH');
  assert.is(hopeless.error?.status, 503);
  assert.ok(hopeless.error!.retryAfter! > 0);
  assert.is(world.arrive(workload, 100, 2000).error, null);
});

test('a queue that stands is cut, a burst is not', () => {
  const world = new World({ discipline: 'fcfs', concurrency: 1, queue: 1e6 });
  const workload = world.workload(5, 1, 1e6, 1000);
  const shed = () => world.requests.filter(({ error }) => error?.code === 'SHED').length;
  for (let i = 0; i < 30; i++) world.arrive(workload, 10);
  world.clock.runUntil(10_000);
  assert.is(shed(), 0, 'a burst that is worked off');
  for (let i = 0; i < 6000; i++) {
    world.arrive(workload, 10);
    world.clock.runUntil(world.clock.now() + 8);
  }
  assert.ok(shed() > 100, String(shed()));
  const last = world.requests.filter(({ ranAt }) => ranAt !== null).slice(-100);
  const waits = last.map(({ ranAt, arrivedAt }) => ranAt! - arrivedAt);
  assert.ok(Math.max(...waits) < 5000, `${Math.max(...waits)}`);
});

test('a full node refuses what would wait; a call that someone with a place waits for is not held up', () => {
  const world = new World({ discipline: 'fcfs', concurrency: 2, queue: 1 });
  const [outer, inner] = [world.workload(5, 10, 10), world.workload(5, 10, 10)];
  world.arrive(outer, 100);
  world.arrive(outer, 100);
  assert.is(world.arrive(outer, 100).error, null);
  const refused = world.arrive(inner, 100);
  assert.is(refused.error?.code, 'NODE_FULL');
  assert.is(refused.error?.status, 503);
  assert.ok(world.arrive(inner, 1, 1e9, true).ranAt !== null);
});

test('calls between workloads go on where both are full', () => {
  const world = new World({ discipline: 'fcfs', concurrency: 2, queue: 100 });
  const [outer, inner] = [world.workload(9, 10, 10), world.workload(0, 1, 10)];
  world.arrive(outer, 1000);
  world.arrive(outer, 1000);
  for (let i = 0; i < 3; i++) world.arrive(outer, 1000);
  const calls = [1, 2, 3].map(() => world.arrive(inner, 10, 1e9, true));
  world.clock.runUntil(100);
  assert.equal(
    calls.map(({ ranAt }) => ranAt),
    [0, 10, 20],
  );
});

test.run();
