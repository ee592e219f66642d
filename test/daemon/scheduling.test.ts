/** Scheduling in a node as users start it, over the native engine: the same requests, another order for each discipline. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ask, discard, startProcess } from '../support/test-node.ts';

async function completions(discipline: string): Promise<string[]> {
  const node = await startProcess({ args: ['--engine', 'wasmtime', '--discipline', discipline] });
  try {
    await node.admin.deploy('w', { concurrency: 1 });
    const get = (path: string) => ask(node.url, { path: `/w${path}` });
    // What the two routes take has to be seen first.
    for (let i = 0; i < 6; i++) for (const path of ['/sleep/40', '/hello']) await get(path);
    const stats = async () => (await node.admin.call('GET', '/v1/workloads/w')).json().revisions[0].stats;
    const ended: string[] = [];
    const send = (path: string) =>
      get(path).then(({ status }) => {
        assert.is(status, 200);
        ended.push(path);
      });
    const all = [send('/sleep/700')];
    while ((await stats()).inFlight < 1) await new Promise(setImmediate);
    for (const path of ['/sleep/40', '/hello']) {
      all.push(send(path));
      while ((await stats()).queued < all.length - 1) await new Promise(setImmediate);
    }
    await Promise.all(all);
    return ended;
  } finally {
    await discard(node);
  }
}

test('first come first served, and shortest job first by what the routes took before', async () => {
  assert.equal(await completions('fcfs'), ['/sleep/700', '/sleep/40', '/hello']);
  assert.equal(await completions('sjf'), ['/sleep/700', '/hello', '/sleep/40']);
});

test('--node-concurrency holds over all workloads, and what the scheduler did is told', async () => {
  const node = await startProcess({ args: ['--node-concurrency', '1', '--node-queue', '0'] });
  try {
    await node.admin.deploy('a', { isolation: 'wasm' });
    await node.admin.deploy('b');
    const slow = ask(node.url, { path: '/a/sleep/1500' });
    let refused = await ask(node.url, { path: '/b/hello' });
    while (refused.status === 200) refused = await ask(node.url, { path: '/b/hello' });
    assert.is(refused.status, 503);
    assert.is(refused.json().code, 'NODE_FULL');
    assert.is((await slow).status, 200);
    assert.is((await ask(node.url, { path: '/b/hello' })).status, 200);
    const { decisions } = (await node.admin.call('GET', '/v1/workloads/a/decisions')).json();
    assert.equal(decisions[0].inputs.asked, 'wasm');
  } finally {
    await discard(node);
  }
});

test.run();
