import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayNeighbours } from '../../../../gateway/neighbours.ts';
import { type ContentStore, digestOf, openContentStore } from '../../../../images/store/index.ts';
import { WasmDriver } from '../../../../runtime/drivers/index.ts';
import type { FunctionSettings, WasmEngine } from '../../../../runtime/drivers/wasm/engine.ts';
import { systemTrust } from '../../../../runtime/egress/trust.ts';
import { type KeyValueStore, openKeyValueStore } from '../../../../runtime/keyvalue/store.ts';
import { WorkloadLogs } from '../../../../runtime/logs/workload-logs.ts';
import { secretErrors } from '../../../../runtime/secrets/errors.ts';
import type { Revision } from '../../../../runtime/workload/revision.ts';
import { revisionOf } from '../../../../runtime/workload/revision-of.ts';
import type { WorkloadSettings } from '../../../../runtime/workload/settings.ts';
import { type Failed, fakeResolver, listen, send, soon } from '../../../support/egress.ts';

interface Context {
  folder: string;
  blobs: ContentStore;
  keyvalue: KeyValueStore;
  values: Record<string, string>;
  driver: WasmDriver;
  /** What the engine was given, load by load. */
  loaded: FunctionSettings[];
  revision(name: string, settings: WorkloadSettings): Promise<Revision>;
}

const services = suite<Context>('what a function may use');

services.before.each(async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-services-'));
  const blobs = await openContentStore(join(folder, 'content'));
  const keyvalue = await openKeyValueStore(join(folder, 'keyvalue'));
  const loaded: FunctionSettings[] = [];
  const engine: WasmEngine = {
    name: 'wasmtime',
    version: 'recording',
    compile: async () => {},
    load: async (_component, settings) => {
      loaded.push(settings);
      const stats = () => assert.unreachable('nobody asks') as never;
      return { handle: async () => {}, stats, close: async () => {} };
    },
    forget: async () => {},
    keptBytes: () => 0,
    close: async () => {},
  };
  Object.assign(context, { folder, blobs, keyvalue, loaded, values: {} });
  context.driver = new WasmDriver({
    engine,
    blobs,
    keyvalue,
    logs: new WorkloadLogs(join(folder, 'logs'), () => {}),
    egress: { resolve: fakeResolver({}).resolve, trust: systemTrust({}) },
    neighbours: new GatewayNeighbours(),
    secrets: {
      valuesFor: ({ workload, secrets }) =>
        Object.fromEntries(
          secrets.map((name) => {
            const value = context.values[name];
            if (value === undefined) throw secretErrors.SECRET_MISSING(workload, name);
            return [name, value];
          }),
        ),
    },
    inUse: () => true,
  });
  context.revision = async (name, settings) => {
    const bytes = Buffer.from(`component of ${name}`);
    await blobs.putBytes(bytes);
    const artifact = { digest: digestOf(bytes), mediaType: 'application/wasm' };
    return revisionOf(name, artifact, name, settings, new Set(['wasm'] as const));
  };
});
services.after.each(async ({ keyvalue, folder }) => {
  await keyvalue.close();
  rmSync(folder, { recursive: true, force: true });
});

services('its configuration is its environment and its secrets; its environment has no secret', async (context) => {
  context.values.API_KEY = 'hunter2';
  const revision = await context.revision('fn', { env: { MODE: 'test' }, secrets: ['API_KEY'] });
  await context.driver.start(revision, revision.limits);
  const [settings] = context.loaded;
  assert.equal(settings?.config, { MODE: 'test', API_KEY: 'hunter2' });
  assert.equal(settings?.env, { MODE: 'test' });
  context.values.API_KEY = 'hunter3';
  await context.driver.start(revision, revision.limits);
  assert.is(context.loaded[1]?.config.API_KEY, 'hunter3', 'an instance that starts later gets the value of then');
});

services('without its secret it is not started', async (context) => {
  const revision = await context.revision('fn', { secrets: ['GONE'] });
  const code = await context.driver.start(revision, revision.limits).catch((error) => error.code);
  assert.is(code, 'SECRET_MISSING');
  assert.is(context.loaded.length, 0);
});

services('it may connect to what its list says, as long as it runs', async (context) => {
  const server = createServer((_request, response) => response.end('reached'));
  const port = await listen(server);
  const revision = await context.revision('fn', { allow: [`127.0.0.1:${port}`] });
  const instance = await context.driver.start(revision, revision.limits);
  const closed = await context.revision('closed', {});
  await context.driver.start(closed, closed.limits);
  const [open, none] = context.loaded.map(({ egress }) => egress);
  const url = `http://127.0.0.1:${port}/`;
  const reach = (egress: typeof open) =>
    send(egress!.open(soon()), url).answer.then(
      ({ body }) => body.toString(),
      (error: Failed) => error.kind,
    );
  assert.is(await reach(open), 'reached');
  assert.is(await reach(none), 'HTTP-request-denied');
  await instance.stop(0);
  assert.is(await reach(open), 'connection-terminated');
  server.closeAllConnections();
  server.close();
});

services('what it stores is kept across its revisions, within the quota of each', async (context) => {
  const first = await context.revision('fn', {});
  const second = await context.revision('fn', { 'keyvalue-quota': '1KiB', env: { A: '1' } });
  const other = await context.revision('other', {});
  for (const revision of [first, second, other]) await context.driver.start(revision, revision.limits);
  const [a, b, c] = context.loaded.map(({ keyvalue }) => keyvalue);
  await a?.set('b', 'k', Buffer.from('value'));
  assert.equal(b?.get('b', 'k'), Buffer.from('value'));
  assert.is(c?.get('b', 'k'), null);
  const code = await b?.set('b', 'large', Buffer.alloc(2000)).catch((error) => error.code);
  assert.is(code, 'KEYVALUE_QUOTA');
  await a?.set('b', 'large', Buffer.alloc(2000));
});

services.run();
