import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Job } from '../../../../../runtime/drivers/wasm/jco/guest-worker.ts';
import { Lane, Lanes } from '../../../../../runtime/drivers/wasm/jco/lanes.ts';
import { Pool } from '../../../../../runtime/drivers/wasm/jco/pool.ts';
import type { CodeMessage } from '../../../../../runtime/drivers/wasm/jco/protocol.ts';

const test = suite('jco: the workers and what waits for them');

interface Waiting {
  readonly name: string;
  readonly lane: Lane<Waiting>;
}

function takeAll(lanes: Lanes<Waiting>): string {
  const names: string[] = [];
  for (let job = lanes.take(); job; job = lanes.take()) names.push(job.name);
  return names.join(' ');
}

test('functions are served in turn, each in the order of its requests', () => {
  const lanes = new Lanes<Waiting>();
  const [a, b, c] = [new Lane<Waiting>(), new Lane<Waiting>(), new Lane<Waiting>()];
  const add = (lane: Lane<Waiting>, ...names: string[]) => {
    for (const name of names) lanes.push({ name, lane });
  };
  add(a, 'a1', 'a2', 'a3', 'a4');
  add(b, 'b1');
  add(c, 'c1', 'c2');
  assert.is(lanes.size, 7);
  assert.is(lanes.peek()?.name, 'a1');
  assert.is(takeAll(lanes), 'a1 b1 c1 a2 c2 a3 a4');
  assert.is(lanes.size, 0);
  // One that comes while others wait is behind each of them once, and before their second.
  add(a, 'a5', 'a6', 'a7');
  add(b, 'b2', 'b3');
  assert.is(lanes.take()?.name, 'a5');
  add(c, 'c3');
  assert.is(takeAll(lanes), 'b2 a6 c3 b3 a7');
});

test('a request that is given up leaves the others in their order', () => {
  const lanes = new Lanes<Waiting>();
  const [a, b, c] = [new Lane<Waiting>(), new Lane<Waiting>(), new Lane<Waiting>()];
  const jobs = [a, a, b, c, c].map((lane, at) => ({ name: String(at), lane }));
  for (const job of jobs) lanes.push(job);
  lanes.remove(jobs[2]!);
  lanes.remove(jobs[2]!);
  lanes.remove(jobs[0]!);
  assert.is(lanes.size, 3);
  assert.is(takeAll(lanes), '1 3 4');
  lanes.remove(jobs[1]!);
  assert.is(lanes.size, 0);
});

/** A function whose guest runs without end. */
function endless(code: number): CodeMessage {
  const glue = '(() => () => { for (;;) {} })()';
  const outbound = { requests: 0, atOnce: 0 };
  const component = `sha256:${code}`;
  return {
    kind: 'code',
    code,
    component,
    glue,
    modules: [],
    env: [],
    config: [],
    outbound,
    memoryBytes: 2 ** 20,
    reuse: 1,
  };
}

test('a function with many requests that run for long holds up no other one', async () => {
  const pool = new Pool();
  const alive = setInterval(() => {}, 60_000);
  const begun: string[] = [];
  const head = { id: '1', method: 'GET', scheme: 'http', authority: 'a', target: '/', headers: [] };
  await new Promise<void>((resolve) => {
    const job = (name: string, code: CodeMessage, lane: Lane<Job>): Job => ({
      code,
      lane,
      begin(worker) {
        begun.push(name);
        worker.post({ kind: 'run', run: worker.run, code: code.code, head, body: null, trailers: null });
        if (name === 'other') resolve();
      },
      message() {},
      lost() {},
    });
    const [one, other] = [endless(1), endless(2)];
    const lane = new Lane<Job>();
    for (let i = 0; i < 64; i++) pool.submit(job('many', one, lane));
    pool.submit(job('other', other, new Lane<Job>()));
  });
  // Not behind all of them: those that had begun already, and the one whose turn it was.
  assert.ok(begun.length < 32, `${begun.length} began before it`);
  clearInterval(alive);
  await pool.close();
});

test('a worker is there beyond those that the cores are for, before anything asks for it', async () => {
  const pool = new Pool();
  const alive = setInterval(() => {}, 60_000);
  const most = performance.now() + 30_000;
  while (pool.ready < 3 && performance.now() < most) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(pool.ready >= 3, `${pool.ready} are ready`);
  clearInterval(alive);
  await pool.close();
});

test.run();
