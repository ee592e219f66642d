import { Agent, request } from 'node:http';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ControlPlane } from '../../support/control-plane.ts';
import { withPlane } from '../../support/control-plane.ts';
import type { Guest } from '../../support/fake-driver.ts';

interface Load {
  readonly answers: { status: number; text: string }[];
  readonly failures: Error[];
  /** Resolves when so many more answers have come. */
  more(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** Clients that ask for `/hello` one request after the other, some over kept connections and some over new ones. */
function load(plane: ControlPlane, clients: number): Load {
  const answers: Load['answers'] = [];
  const failures: Error[] = [];
  const agents = [new Agent({ keepAlive: true }), new Agent({ keepAlive: false })];
  let running = true;
  let wake: (() => void)[] = [];
  const { hostname, port } = new URL(plane.url);
  const ask = (agent: Agent, body: string | null) =>
    new Promise<void>((resolve) => {
      const method = body === null ? 'GET' : 'POST';
      const outgoing = request({ hostname, port, path: '/hello', method, agent }, (response) => {
        let text = '';
        response.on('data', (piece) => {
          text += piece;
        });
        response.on('end', () => {
          answers.push({ status: response.statusCode!, text });
          resolve();
        });
        response.on('error', (error) => {
          failures.push(error);
          resolve();
        });
      });
      outgoing.on('error', (error) => {
        failures.push(error);
        resolve();
      });
      outgoing.end(body ?? undefined);
    });
  const client = async (i: number) => {
    while (running) {
      await ask(agents[i % 2]!, i % 3 === 0 ? 'a body' : null);
      for (const each of wake) each();
    }
  };
  const all = Promise.all(Array.from({ length: clients }, (_, i) => client(i)));
  return {
    answers,
    failures,
    async more(count) {
      const wanted = answers.length + count;
      while (answers.length < wanted && failures.length === 0) await new Promise<void>((resolve) => wake.push(resolve));
      wake = [];
    },
    async stop() {
      running = false;
      await all;
      for (const agent of agents) agent.destroy();
    },
  };
}

/** Answers in two pieces with some turns of the loop between, so that deploys meet requests at every stage. */
const slowly =
  (text: string): Guest =>
  async (exchange) => {
    await new Promise((resolve) => setTimeout(resolve, 2));
    exchange.reply.start(200, ['content-type', 'text/plain']);
    exchange.reply.write(Buffer.from(text.slice(0, 1)));
    await new Promise((resolve) => setImmediate(resolve));
    exchange.reply.write(Buffer.from(text.slice(1)));
    exchange.reply.end(null);
  };

const versions = ['v0', 'v1', 'v2', 'v3', 'v4', 'v5'];

async function rollOut(plane: ControlPlane, concurrency: number): Promise<void> {
  plane.driver.onStart = () => new Promise((resolve) => setTimeout(resolve, 5));
  await plane.settledDeploy('hello', 'v0', { concurrency }, slowly('v0'));
  const traffic = load(plane, 12);
  for (const version of versions.slice(1)) {
    await traffic.more(60);
    await plane.settledDeploy('hello', version, { concurrency }, slowly(version));
  }
  await plane.desired.rollback('hello', undefined);
  await traffic.more(60);
  const first = plane.desired.require('hello').value.revisions[0]!;
  await plane.desired.traffic('hello', [
    { revision: first, percent: 50 },
    { revision: plane.desired.require('hello').value.revisions.at(-1)!, percent: 50 },
  ]);
  await traffic.more(60);
  await traffic.stop();
  assert.equal(traffic.failures, []);
  const bad = traffic.answers.filter(({ status, text }) => status !== 200 || !versions.includes(text));
  assert.equal(bad, []);
  assert.ok(traffic.answers.length > 400);
  const seen = new Set(traffic.answers.map(({ text }) => text));
  for (const version of versions) assert.ok(seen.has(version), `${version} had traffic`);
  assert.is(
    plane.driver.instances.reduce((sum, instance) => sum + instance.brokenOff, 0),
    0,
  );
  assert.ok(plane.driver.instances.every((instance) => instance.peak <= concurrency));
}

test('deploys, a rollback and a traffic split under load drop no request', () =>
  withPlane((plane) => rollOut(plane, 64)));

test('nor do they when requests have to wait for a place', () => withPlane((plane) => rollOut(plane, 2)));

test.run();
