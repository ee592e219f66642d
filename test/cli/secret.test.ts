import * as assert from 'uvu/assert';
import { assertFailure, skerry } from '../support/cli.ts';
import { problem } from '../support/fake-node.ts';
import { fakeNodeSuite } from '../support/fake-node-suite.ts';

const test = fakeNodeSuite('secret');

const secretOf = (name: string, usedBy: string[] = []) => ({ name, updatedAt: '2026-01-31T12:00:00.000Z', usedBy });

test('`secret set` takes the value from stdin, without the line end behind it, and prints nothing of it', async (scene) => {
  const node = await scene.start({ 'PUT /v1/secrets/API_KEY': () => secretOf('API_KEY', ['api', 'shop']) });
  for (const [stdin, value] of [
    ['hunter2', 'hunter2'],
    ['hunter2\n', 'hunter2'],
    ['hunter2\r\n', 'hunter2'],
    ['two\nlines\n\n', 'two\nlines\n'],
    ['  \u{feff}\u2602 ', '  \u{feff}\u2602 '],
  ] as const) {
    const result = await skerry(['secret', 'set', 'API_KEY'], { data: node.data, stdin });
    assert.equal(result, { status: 0, stdout: 'API_KEY is set; api, shop got the new value\n', stderr: '' });
    assert.equal(JSON.parse(node.requests.at(-1)!.body.toString()), { value });
  }
});

test('a name or a value that cannot be one is told before anything is sent', async (scene) => {
  const node = await scene.start({});
  assertFailure(
    await skerry(['secret', 'set', 'a-b'], { data: node.data, stdin: 'x' }),
    'USAGE',
    2,
    /a-b: a secret's name/,
  );
  const bytes = Buffer.from([0xff, 0xfe]);
  assertFailure(await skerry(['secret', 'set', 'K'], { data: node.data, stdin: bytes }), 'USAGE', 2, /UTF-8/);
  assertFailure(await skerry(['secret', 'set'], { data: node.data }), 'USAGE', 2, /skerry secret --help/);
  assertFailure(await skerry(['secret', 'get', 'K'], { data: node.data }), 'USAGE', 2, /unknown command 'get'/);
  assert.is(node.requests.length, 0);
});

test('what the node refuses is told with its code', async (scene) => {
  const node = await scene.start({
    'DELETE /v1/secrets/K': (_request, response) => problem(response, 409, 'SECRET_IN_USE', 'K is used by api'),
  });
  assertFailure(await skerry(['secret', 'rm', 'K'], { data: node.data }), 'SECRET_IN_USE', 1, /used by api/);
  assert.is(node.requests[0]?.url, '/v1/secrets/K?force=false');
});

test('`secret rm` removes each once, with force where that is said', async (scene) => {
  const gone = (_request: unknown, response: import('node:http').ServerResponse) => void response.writeHead(204).end();
  const node = await scene.start({ 'DELETE /v1/secrets/K': gone, 'DELETE /v1/secrets/L': gone });
  const result = await skerry(['secret', 'rm', 'K', 'L', 'K', '--force'], { data: node.data });
  assert.equal(result, { status: 0, stdout: 'K is removed\nL is removed\n', stderr: '' });
  assert.equal(
    node.requests.map(({ url }) => url),
    ['/v1/secrets/K?force=true', '/v1/secrets/L?force=true'],
  );
});

test('`secret ls` prints a table, or one document', async (scene) => {
  const secrets = [secretOf('A', ['api']), secretOf('B')];
  const node = await scene.start({ 'GET /v1/secrets': () => ({ secrets }) });
  const text = await skerry(['secret', 'ls'], { data: node.data });
  assert.match(text.stdout, /^NAME +SET +USED BY\nA +2026-01-31 12:00:00Z +api\nB +2026-01-31 12:00:00Z +-\n$/);
  const json = await skerry(['secret', 'ls', '--json'], { data: node.data });
  assert.equal(JSON.parse(json.stdout), { secrets });
});

test.run();
