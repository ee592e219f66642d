import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../../errors/skerry-error.ts';
import { Admission, type AdmissionOptions } from '../../../../runtime/scheduler/admission/admission.ts';
import type { Lane } from '../../../../runtime/scheduler/admission/lane.ts';
import type { Waiter } from '../../../../runtime/scheduler/admission/waiter.ts';

class Request implements Waiter {
  readonly name: string;
  readonly deadline: number;
  aborted = false;
  readonly expectedMs = 0;
  readonly nested = false;
  runs = 0;
  error: SkerryError | null = null;
  readonly refused: Promise<SkerryError>;
  readonly #log: string[];
  #refuse!: (error: SkerryError) => void;

  constructor(name: string, log: string[], deadlineMs = 60_000) {
    this.name = name;
    this.#log = log;
    this.deadline = performance.now() + deadlineMs;
    this.refused = new Promise((resolve) => {
      this.#refuse = resolve;
    });
  }

  run(): void {
    this.runs++;
    this.#log.push(this.name);
  }

  refuse(error: SkerryError): void {
    assert.is(this.error, null, 'refused once');
    assert.is(this.runs, 0, 'not both run and refused');
    this.error = error;
    this.#refuse(error);
  }
}

function laneOf(name: string, concurrency: number, limit: number, node: Partial<AdmissionOptions> = {}): Lane {
  return new Admission(node).lane({ name, concurrency, limit, priority: 5, timeoutMs: 60_000 });
}

function enter(lane: Lane, request: Request): void {
  lane.enter(request, performance.now());
}

// The queue's own timer does not keep a process alive, as the sockets of its requests do.
let alive: NodeJS.Timeout;
test.before(() => {
  alive = setInterval(() => {}, 1000);
});
test.after(() => clearInterval(alive));

test('at most so many requests run at once, the others follow in order of arrival', () => {
  const ran: string[] = [];
  const queue = laneOf('w', 2, 10);
  for (const name of 'abcde') enter(queue, new Request(name, ran));
  assert.equal(ran, ['a', 'b']);
  assert.is(queue.queued, 3);
  queue.leave();
  assert.equal(ran, ['a', 'b', 'c']);
  queue.leave();
  queue.leave();
  assert.equal(ran, ['a', 'b', 'c', 'd', 'e']);
  queue.leave();
  queue.leave();
  assert.is(queue.running, 0);
});

test('a full queue refuses with 429 and says when to try again; a place that comes free is used', () => {
  const ran: string[] = [];
  const queue = laneOf('shop', 1, 1);
  enter(queue, new Request('a', ran));
  enter(queue, new Request('b', ran));
  const third = new Request('c', ran);
  enter(queue, third);
  assert.is(third.error?.code, 'QUEUE_FULL');
  assert.is(third.error?.status, 429);
  assert.ok((third.error?.retryAfter ?? 0) > 0);
  assert.match(third.error?.what ?? '', /shop/);
  queue.leave();
  const fourth = new Request('d', ran);
  enter(queue, fourth);
  assert.is(fourth.error, null);
});

test('a queue of length 0 runs what it can and refuses the rest', () => {
  const queue = laneOf('w', 1, 0);
  const [first, second] = [new Request('a', []), new Request('b', [])];
  enter(queue, first);
  enter(queue, second);
  assert.is(first.runs, 1);
  assert.is(second.error?.code, 'QUEUE_FULL');
});

test('a request that waits past its deadline is answered 504 while the one before it still runs', async () => {
  const queue = laneOf('w', 1, 10);
  enter(queue, new Request('a', []));
  const waiting = new Request('b', [], 20);
  enter(queue, waiting);
  const error = await waiting.refused;
  assert.is(error.code, 'QUEUE_DEADLINE');
  assert.is(error.status, 504);
  assert.is(queue.queued, 0);
});

test('a request with a nearer deadline is told in time although it came later', async () => {
  const queue = laneOf('w', 1, 10);
  enter(queue, new Request('a', []));
  const patient = new Request('b', []);
  const hurried = new Request('c', [], 20);
  enter(queue, patient);
  enter(queue, hurried);
  assert.is((await hurried.refused).code, 'QUEUE_DEADLINE');
  assert.is(patient.error, null);
  queue.leave();
  assert.is(patient.runs, 1);
});

test('a place that comes free after a deadline is not given to the request that missed it', () => {
  const ran: string[] = [];
  const queue = laneOf('w', 1, 10);
  enter(queue, new Request('a', ran));
  const late = new Request('late', ran, 0);
  const next = new Request('next', ran);
  enter(queue, late);
  enter(queue, next);
  queue.leave();
  assert.is(late.error?.code, 'QUEUE_DEADLINE');
  assert.equal(ran, ['a', 'next']);
});

test('a client that has left gets no place, and does not keep one from others', () => {
  const ran: string[] = [];
  const queue = laneOf('w', 1, 2);
  enter(queue, new Request('a', ran));
  const [left, alsoLeft, last] = [new Request('left', ran), new Request('also', ran), new Request('last', ran)];
  enter(queue, left);
  enter(queue, alsoLeft);
  left.aborted = true;
  alsoLeft.aborted = true;
  // The queue is full of the dead: there is room all the same.
  enter(queue, last);
  assert.is(last.error, null);
  queue.leave();
  assert.equal(ran, ['a', 'last']);
  assert.is(left.error, null, 'nobody answers a client that has left');
});

test('whoever waits for the last request hears of it, or stops waiting', async () => {
  const queue = laneOf('w', 1, 10);
  await queue.drained(60_000);
  enter(queue, new Request('a', []));
  enter(queue, new Request('b', []));
  let drained = false;
  const waiting = queue.drained(60_000).then(() => {
    drained = true;
  });
  queue.leave();
  await Promise.resolve();
  assert.not(drained, 'a queued request is waited for too');
  await queue.drained(1);
  queue.leave();
  await waiting;
});

test('no place is lost or given twice in thousands of arrivals, departures and leavers', () => {
  // A small generator with a fixed seed (Numerical Recipes, ranqd1): the same run each time.
  let seed = 42;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  const queue = laneOf('w', 7, 20);
  const all: Request[] = [];
  let running = 0;
  for (let i = 0; i < 20_000; i++) {
    if (random() < 0.55) {
      const request = new Request(String(i), []);
      all.push(request);
      enter(queue, request);
    } else if (running > 0) {
      queue.leave();
      running--;
    }
    if (random() < 0.1) {
      const waiting = all.find((request) => request.runs === 0 && !request.error && !request.aborted);
      if (waiting) waiting.aborted = true;
    }
    const finished = all.filter((request) => request.runs > 0).length;
    running = queue.running;
    assert.ok(running <= 7);
    assert.ok(queue.queued <= 20);
    assert.ok(finished >= running);
    if (all.length > 200) all.splice(0, 100);
  }
  while (queue.running > 0) queue.leave();
  assert.is(queue.queued, 0);
  for (const request of all) assert.ok(request.runs === 1 || request.error !== null || request.aborted, request.name);
});

test.run();
