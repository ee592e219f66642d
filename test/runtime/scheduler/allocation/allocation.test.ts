import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Allocated, CpuAllocator } from '../../../../runtime/scheduler/allocation/cpu-allocator.ts';
import { checkFits } from '../../../../runtime/scheduler/allocation/machine.ts';
import { chooseVictims, type Holder, MemoryBudget } from '../../../../runtime/scheduler/allocation/memory-budget.ts';
import { CPU_POLICIES, type CpuClaim, type CpuPolicy } from '../../../../runtime/scheduler/allocation/policies.ts';
import { DecisionLog } from '../../../../runtime/scheduler/decisions.ts';
import { chooseSeed, randomFrom } from '../../../support/random.ts';

const random = randomFrom(chooseSeed('allocation'));
const below = (most: number) => Math.floor(random() * most);

test('no policy ever gives more than the machine has, nor more than was declared, and none wastes what is wanted', () => {
  for (let round = 0; round < 500; round++) {
    const total = 500 + below(8000);
    const claims = Array.from({ length: 1 + below(12) }, (_, i): CpuClaim => {
      const declared = 10 + below(4000);
      const reserved = random() < 0.3 ? below(declared) : 0;
      return { name: `w${i}`, declared, reserved, priority: below(10), requests: below(50) };
    });
    for (const [name, policy] of Object.entries(CPU_POLICIES)) {
      const grants = policy(total, claims);
      const sum = grants.reduce((a, b) => a + b, 0);
      const wanted = claims.reduce((a, { declared }) => a + declared, 0);
      assert.ok(sum <= total + 1e-3, `${name}: ${sum} of ${total}`);
      assert.ok(Math.abs(sum - Math.min(total, wanted)) < 1, `${name}: ${sum}`);
      const promised = claims.reduce((a, { reserved }) => a + reserved, 0);
      for (const [i, { declared, reserved }] of claims.entries()) {
        assert.ok(grants[i]! <= declared + 1e-3 && grants[i]! >= 0);
        if (promised <= total) assert.ok(grants[i]! >= reserved - 1e-3, `${name}: what is reserved comes first`);
      }
    }
  }
});

test('by demand in proportion to what is declared, by priority to the more urgent, by load to where the requests are', () => {
  const claim = { reserved: 0, priority: 5, requests: 0 };
  const claims = [
    { ...claim, name: 'a', declared: 3000, priority: 0, requests: 9 },
    { ...claim, name: 'b', declared: 1000, priority: 9, requests: 1 },
  ];
  const whole = (policy: CpuPolicy) => policy(2000, claims).map(Math.round);
  assert.equal(whole(CPU_POLICIES.demand), [1500, 500]);
  assert.equal(whole(CPU_POLICIES.priority), [1000, 1000]);
  assert.equal(whole(CPU_POLICIES.load), [1784, 216]);
});

class Group implements Allocated {
  readonly workload: string;
  resizable = 1;
  declaredMillicores = 2000;
  reservedInstances = 0;
  priority = 5;
  requests = 0;
  readonly allotted: number[] = [];

  constructor(workload: string) {
    this.workload = workload;
  }

  allot(millicores: number): void {
    this.allotted.push(millicores);
  }
}

test('shares are changed when there is too little for all, not for each small change, and given back', () => {
  const allocator = new CpuAllocator(2000, CPU_POLICIES.load, new DecisionLog());
  const [a, b] = [new Group('a'), new Group('b')];
  allocator.tick([a]);
  assert.equal(a.allotted, [], 'alone it has what it declared');
  a.requests = 10;
  b.requests = 10;
  allocator.tick([a, b]);
  assert.equal([a.allotted, b.allotted], [[1000], [1000]]);
  for (let i = 0; i < 20; i++) {
    a.requests = 10 + (i % 2);
    allocator.tick([a, b]);
  }
  assert.equal([a.allotted, b.allotted], [[1000], [1000]], 'it does not flap');
  b.requests = 0;
  allocator.tick([a, b]);
  assert.ok(a.allotted.at(-1)! > 1900);
  b.resizable = 0;
  allocator.tick([a, b]);
  assert.is(b.allotted.at(-1), 2000, 'idle it is free to begin with all that it declared');
  assert.is(a.allotted.at(-1), 2000);
});

test('a policy that throws, or gives away more than there is, is left: the node goes on by priority and says so', () => {
  const bad: CpuPolicy[] = [
    () => {
      throw new Error('no idea');
    },
    (total, claims) => claims.map(() => total),
    () => [Number.NaN, 1],
    () => [],
  ];
  for (const policy of bad) {
    const decisions = new DecisionLog();
    const allocator = new CpuAllocator(2000, policy, decisions);
    const [a, b] = [new Group('a'), new Group('b')];
    allocator.tick([a, b]);
    allocator.tick([a, b]);
    assert.equal([a.allotted, b.allotted], [[1000], [1000]]);
    assert.match(decisions.of('a')[0]!.decision, /policy failed/);
    assert.is(decisions.of('a').length, 1);
  }
});

const holder = (over: Partial<Holder> & Pick<Holder, 'state'>): Holder => ({
  workload: 'w',
  bytes: 100,
  priority: 5,
  reserved: false,
  idleSince: 0,
  evict: async () => {},
  ...over,
});

test('for memory the frozen go first, then the idle, then what serves a less urgent workload; what is kept ready stays', () => {
  const frozen = holder({ state: 'frozen', priority: 5 });
  const idle = holder({ state: 'idle', priority: 3 });
  const busy = holder({ state: 'busy', priority: 4 });
  const equal = holder({ state: 'busy', priority: 5 });
  const kept = holder({ state: 'frozen', priority: 0, reserved: true });
  const urgent = holder({ state: 'frozen', priority: 6 });
  const all = [kept, urgent, equal, busy, idle, frozen];
  assert.equal(chooseVictims(100, 5, all), [frozen]);
  assert.equal(chooseVictims(150, 5, all), [frozen, idle]);
  assert.equal(chooseVictims(300, 5, all), [frozen, idle, busy]);
  assert.is(chooseVictims(301, 5, all), null, 'nobody is ended for nothing');
  assert.equal(chooseVictims(0, 5, all), []);
});

test('what instances have together never passes the ceiling, whoever comes and goes at once', async () => {
  const held = new Map<Holder, () => void>();
  const budget: MemoryBudget = new MemoryBudget(1000, () => [...held.keys()]);
  let refused = 0;
  const come = async () => {
    const bytes = 50 + below(300);
    const priority = below(10);
    const release = await budget.claim({ bytes, priority }, () => {});
    assert.ok(budget.usedBytes <= 1000, String(budget.usedBytes));
    if (!release) {
      refused++;
      return;
    }
    const state = (['frozen', 'idle', 'busy'] as const)[below(3)]!;
    const mine: Holder = holder({
      ...{ state, bytes, priority, reserved: random() < 0.1, idleSince: below(100) },
      evict: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        held.delete(mine);
        release();
        release();
      },
    });
    held.set(mine, release);
  };
  for (let i = 0; i < 200; i++) await Promise.all(Array.from({ length: 1 + below(5) }, come));
  assert.is(
    budget.usedBytes,
    [...held.keys()].reduce((sum, { bytes }) => sum + bytes, 0),
  );
  assert.ok(refused > 0);
});

test('more than the machine has is refused with what there is', () => {
  const machine = { memoryBytes: 2 ** 30, cpuMillicores: 2000 };
  const fits = { memoryBytes: 2 ** 28, cpuMillicores: 2000, min: 4 };
  checkFits(machine, 'w', fits);
  for (const wrong of [{ memoryBytes: 2 ** 31, min: 0 }, { cpuMillicores: 2001 }, { min: 5 }]) {
    assert.throws(() => checkFits(machine, 'w', { ...fits, ...wrong }), /this node has .* \[TOO_LARGE\]/);
  }
});

test.run();
