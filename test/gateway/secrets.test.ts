import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ask, type LocalNode, startLocal } from '../support/test-node.ts';

const VALUE = 'a-value-that-nobody-may-see';

const secrets = suite<{ node: LocalNode }>('secrets over the admin API');

secrets.before(async (context) => {
  context.node = await startLocal();
});
secrets.after(({ node }) => node.close());

const set = (node: LocalNode, name: string, value: unknown) => node.admin.call('PUT', `/v1/secrets/${name}`, { value });

secrets('a function that names a secret is deployed when there is one', async ({ node }) => {
  const early = await node.admin.deploy('fn', { secrets: ['API_KEY'] }).catch((error: Error) => error.message);
  assert.match(String(early), /SECRET_MISSING/);
  assert.match(String(early), /fn is to get the secret API_KEY, and there is none/);
  assert.is((await set(node, 'API_KEY', VALUE)).status, 200);
  const view = await node.admin.deploy('fn', { secrets: ['API_KEY'], env: { MODE: 'test' } });
  assert.is(view.status.phase, 'ready');
  assert.equal(view.revisions[0].secrets, ['API_KEY']);
  assert.equal((await ask(node.url, { path: '/fn/hello' })).body.toString(), 'hello');
});

secrets('its environment has no secret in it', async ({ node }) => {
  const env = (await ask(node.url, { path: '/fn/env' })).body.toString();
  assert.match(env, /MODE/);
  assert.not(env.includes('API_KEY') || env.includes(VALUE));
});

secrets('a changed value starts it anew, from one request to the next', async ({ node }) => {
  let running = true;
  const statuses = new Set<number>();
  const clients = Array.from({ length: 4 }, async () => {
    while (running) statuses.add((await ask(node.url, { path: '/fn/hello' })).status);
  });
  for (let i = 0; i < 5; i++) assert.equal((await set(node, 'API_KEY', `${VALUE} ${i}`)).json().usedBy, ['fn']);
  running = false;
  await Promise.all(clients);
  assert.equal([...statuses], [200]);
});

secrets('no answer of the node has a value in it: views, export, logs, metrics, problems', async ({ node }) => {
  const answers = await Promise.all([
    node.admin.call('GET', '/v1/secrets'),
    node.admin.call('GET', '/v1/workloads/fn'),
    node.admin.call('GET', '/v1/export'),
    node.admin.call('GET', '/v1/workloads/fn/logs'),
    node.admin.call('GET', '/metrics'),
    node.admin.call('GET', '/v1/doctor'),
    set(node, 'API_KEY', `${VALUE}\0`),
    set(node, 'API_KEY', { wrong: VALUE }),
    set(node, 'no-name', VALUE),
    node.admin.call('PUT', '/v1/secrets/API_KEY', { value: VALUE, colour: VALUE }),
    node.admin.call('DELETE', '/v1/secrets/API_KEY'),
  ]);
  assert.equal(
    answers.map(({ status }) => status),
    [200, 200, 200, 200, 200, 200, 400, 400, 400, 400, 409],
  );
  for (const { body } of answers) assert.not(body.includes(VALUE), body.toString());
  assert.not(JSON.stringify(node.log).includes(VALUE));
  assert.not(readFileSync(join(node.data, 'state/data.mdb')).includes(VALUE));
  assert.match(answers[2]?.body.toString() ?? '', /"secrets":\["API_KEY"\]/);
});

secrets('what export writes deploys the same revision again', async ({ node }) => {
  const settings = { secrets: ['API_KEY'], allow: ['*.example.com:8443', '[::1]:80'], 'keyvalue-quota': '1MiB' };
  await node.admin.deploy('fn', settings);
  const [exported] = (await node.admin.call('GET', '/v1/export?name=fn')).json().workloads;
  const { name, image, ...again } = exported;
  assert.equal({ ...again, ...settings, allow: again.allow }, again);
  const artifact = { digest: image, mediaType: 'application/wasm' };
  const revisions = [{ artifact, label: 'fn.wasm', percent: 100, settings: {} }];
  const workloads = [{ name, revisions, settings: again }];
  const plan = await node.admin.call('POST', '/v1/apply', { workloads, dryRun: true });
  assert.is(plan.json().changes[0].action, 'unchanged');
});

secrets('one in use is not removed, unless that is forced', async ({ node }) => {
  const refused = await node.admin.call('DELETE', '/v1/secrets/API_KEY');
  assert.is(refused.json().code, 'SECRET_IN_USE');
  assert.match(refused.json().detail, /used by fn/);
  assert.is((await node.admin.call('DELETE', '/v1/secrets/API_KEY?force=true')).status, 204);
  assert.is((await node.admin.call('DELETE', '/v1/secrets/API_KEY')).json().code, 'NO_SECRET');
  assert.equal((await node.admin.call('GET', '/v1/secrets')).json(), { secrets: [] });
  assert.equal((await ask(node.url, { path: '/fn/hello' })).body.toString(), 'hello', 'what runs goes on');
});

secrets.run();
