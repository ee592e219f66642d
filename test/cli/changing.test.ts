import * as assert from 'uvu/assert';
import { assertFailure, skerry } from '../support/cli.ts';
import { type Handler, problem, revisionOf, workloadOf } from '../support/fake-node.ts';
import { fakeNodeSuite } from '../support/fake-node-suite.ts';

const test = fakeNodeSuite('changing');

const three = workloadOf('x', {
  revisions: [revisionOf('cccc00000003'), revisionOf('aaaabbbb0002'), revisionOf('aaaa00000001')],
});

function changes(kind: string): Record<string, Handler> {
  return {
    'GET /v1/workloads/x': () => three,
    [kind]: () => three,
    'GET /v1/workloads/x/settled': () => three,
  };
}

test('scale sends only what was said', async ({ start }) => {
  const node = await start(changes('PUT /v1/workloads/x/scale'));
  assert.is((await skerry(['scale', 'x', '--max', '0'], { data: node.data })).status, 0);
  const { stdout } = await skerry(['scale', 'x', '--min', '1', '--max', '4'], { data: node.data });
  assert.is(stdout, 'x is ready: at least 0, at most 10 instances\n');
  const sent = node.of('PUT /v1/workloads/x/scale').map((request) => JSON.parse(request.body.toString()));
  assert.equal(sent, [{ max: 0 }, { min: 1, max: 4 }]);
});

test('scale without anything to change, or out of range, is refused before the node is asked', async ({ start }) => {
  const node = await start({});
  assertFailure(await skerry(['scale', 'x'], { data: node.data }), 'USAGE', 2, /give --min N, --max N/);
  assertFailure(await skerry(['scale', 'x', '--max', 'many'], { data: node.data }), 'BAD_FLAG', 2, /^--max: must be/);
  assert.is(node.requests.length, 0);
});

test('traffic takes the first digits of revisions', async ({ start }) => {
  const node = await start(changes('PUT /v1/workloads/x/traffic'));
  const result = await skerry(['traffic', 'x', 'cc=90', 'AAAA0=10%'], { data: node.data });
  assert.is(result.stderr, '');
  assert.is(result.stdout, 'x: aaaa00000001 100%\n');
  assert.equal(JSON.parse(node.of('PUT /v1/workloads/x/traffic')[0]!.body.toString()), {
    traffic: [
      { revision: 'cccc00000003', percent: 90 },
      { revision: 'aaaa00000001', percent: 10 },
    ],
  });
});

test('traffic to an unknown, ambiguous or repeated revision, or that is no 100 percent, changes nothing', async (scene) => {
  const node = await scene.start(changes('PUT /v1/workloads/x/traffic'));
  const traffic = (...shares: string[]) => skerry(['traffic', 'x', ...shares], { data: node.data });
  assertFailure(await traffic('dd=100'), 'NO_SUCH_REVISION', 1, /x has no revision dd; see `skerry revisions x`/);
  assertFailure(await traffic('aaaa=100'), 'AMBIGUOUS_REVISION', 1, /aaaabbbb0002 or aaaa00000001; give more/);
  assertFailure(await traffic('cc=50', 'cccc=50'), 'USAGE', 2, /more than one share/);
  assertFailure(await traffic('cc=50', 'aaaa0=40'), 'USAGE', 2, /add up to 90%/);
  assertFailure(await traffic('cc=101'), 'USAGE', 2, /not REV=PERCENT/);
  assertFailure(await traffic('cc'), 'USAGE', 2, /not REV=PERCENT/);
  assertFailure(await traffic('cc=1.5'), 'USAGE', 2, /whole percentage/);
  assert.is(node.of('PUT /v1/workloads/x/traffic').length, 0);
});

test('rollback goes to the revision before, or to the one that is named', async ({ start }) => {
  const node = await start(changes('POST /v1/workloads/x/rollback'));
  await skerry(['rollback', 'x'], { data: node.data });
  await skerry(['rollback', 'x', 'aaaab'], { data: node.data });
  const sent = node.of('POST /v1/workloads/x/rollback').map((request) => JSON.parse(request.body.toString()));
  assert.equal(sent, [{}, { revision: 'aaaabbbb0002' }]);
});

test('a change that does not get ready is told as such', async ({ start }) => {
  const failed = workloadOf('x', {
    status: { observedGeneration: 1, phase: 'failed', message: 'out of memory', traffic: [] },
  });
  const node = await start({
    ...changes('POST /v1/workloads/x/rollback'),
    'GET /v1/workloads/x/settled': () => failed,
  });
  const result = await skerry(['rollback', 'x'], { data: node.data });
  assertFailure(result, 'NOT_READY', 1, /out of memory; no revision of it serves/);
});

test('rm removes each of its workloads and waits until it is gone', async ({ start }) => {
  const left = { x: 2, y: 1 };
  const settled = (name: 'x' | 'y'): Handler => {
    return (_request, response) => {
      if (left[name]-- === 0) return problem(response, 404, 'NO_WORKLOAD', `there is no workload ${name}`);
      return problem(response, 503, 'REMOVING', `${name} is removed, but requests that it had still run`);
    };
  };
  const gone: Handler = (_request, response) => void response.writeHead(204).end();
  const node = await start({
    'GET /v1/workloads/x': () => workloadOf('x'),
    'GET /v1/workloads/y': () => workloadOf('y'),
    'DELETE /v1/workloads/x': gone,
    'DELETE /v1/workloads/y': gone,
    'GET /v1/workloads/x/settled': settled('x'),
    'GET /v1/workloads/y/settled': settled('y'),
  });
  const result = await skerry(['rm', 'x', 'y'], { data: node.data });
  assert.equal(result, { status: 0, stdout: 'x is removed\ny is removed\n', stderr: '' });
  assert.is(node.of('GET /v1/workloads/x/settled').length, 3);
});

test('rm with one name that does not exist removes nothing', async ({ start }) => {
  const node = await start({
    'GET /v1/workloads/x': () => workloadOf('x'),
    'GET /v1/workloads/y': (_request, response) => problem(response, 404, 'NO_WORKLOAD', 'there is no workload y'),
  });
  assertFailure(await skerry(['rm', 'x', 'y'], { data: node.data }), 'NO_WORKLOAD', 1, /there is no workload y/);
  assert.not.ok(node.requests.some((request) => request.method === 'DELETE'));
});

test.run();
