import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../../errors/skerry-error.ts';
import { GatewayNeighbours } from '../../../../gateway/neighbours.ts';
import { digestOf, openContentStore } from '../../../../images/store/index.ts';
import { unofferedImports } from '../../../../images/wasm/component.ts';
import { WasmDriver } from '../../../../runtime/drivers/index.ts';
import type { EngineName, WasmEngine } from '../../../../runtime/drivers/wasm/engine.ts';
import { OFFERED_IMPORTS, offeredInterfaces } from '../../../../runtime/drivers/wasm/offer.ts';
import { systemTrust } from '../../../../runtime/egress/trust.ts';
import { WorkloadLogs } from '../../../../runtime/logs/workload-logs.ts';
import { revisionOf } from '../../../../runtime/workload/revision-of.ts';
import type { WorkloadSettings } from '../../../../runtime/workload/settings.ts';
import { guest } from '../../../support/guests.ts';
import { javaScriptComponent } from '../../../support/javascript.ts';
import { noServices } from '../../../support/services.ts';

const offer = suite('what a component may ask for');

/** Deploys a component on an engine that takes whatever it is given. */
async function check(path: string, name: EngineName, settings: WorkloadSettings = {}): Promise<SkerryError | null> {
  const folder = await mkdtemp(join(tmpdir(), 'skerry-offer-'));
  const blobs = await openContentStore(join(folder, 'content'));
  const engine: WasmEngine = {
    name,
    version: 'willing',
    compile: async () => {},
    load: async () => ({
      handle: async () => {},
      stats: () => assert.unreachable('nobody asks') as never,
      close: async () => {},
    }),
    forget: async () => {},
    keptBytes: () => 0,
    close: async () => {},
  };
  const { keyvalue } = noServices();
  const driver = new WasmDriver({
    engine,
    blobs,
    logs: new WorkloadLogs(join(folder, 'logs'), () => {}),
    secrets: { valuesFor: () => ({}) },
    keyvalue: { namespace: () => keyvalue },
    egress: { resolve: async () => [], trust: systemTrust({}) },
    neighbours: new GatewayNeighbours(),
    inUse: () => true,
  });
  try {
    const bytes = readFileSync(path);
    await blobs.putBytes(bytes);
    const artifact = { digest: digestOf(bytes), mediaType: 'application/wasm' };
    const revision = revisionOf('fn', artifact, 'fn', settings, new Set(['wasm'] as const));
    return await driver
      .check(revision, 'fn', () => {})
      .then(
        () => null,
        (error) => error,
      );
  } finally {
    await rm(folder, { recursive: true });
  }
}

offer('configuration, storage and a log with levels are offered on both engines, beside WASI', async () => {
  for (const engine of ['wasmtime', 'jco'] as const) {
    assert.is(await check(await guest('services'), engine), null);
    assert.is(await check(await guest('behaviours'), engine), null);
  }
});

offer('interfaces are offered in the versions that are linked, and in no others', () => {
  const imports = ['wasi:config/store@0.2.0-rc.1', 'wasi:keyvalue/batch@0.2.0-draft', 'wasi:logging/logging'];
  assert.equal(unofferedImports({ imports }, OFFERED_IMPORTS), []);
  const unknown = ['wasi:keyvalue/watcher@0.2.0-draft', 'wasi:keyvalue/store@0.2.0', 'wasi:config/store@0.2.0'];
  assert.equal(unofferedImports({ imports: unknown }, OFFERED_IMPORTS), unknown);
});

offer('doctor lists what is offered, and what is of WASI 0.3 only where it can run', async () => {
  const listed = offeredInterfaces(true);
  for (const { package: name, version } of OFFERED_IMPORTS) {
    assert.ok(listed.some((line) => line.startsWith(`${name}/`) && (version === '' || line.endsWith(`@${version}`))));
  }
  assert.ok(listed.includes('wasi:http/{types,client}@0.3'));
  assert.not(offeredInterfaces(false).some((line) => line.includes('@0.3')));
});

offer(
  'instances of a function built from JavaScript serve one request: to reuse them is refused at deploy',
  async () => {
    const path = await javaScriptComponent('export default { fetch: () => new Response("hello") };');
    for (const engine of ['wasmtime', 'jco'] as const) {
      const error = await check(path, engine, { reuse: 2 });
      assert.is(error?.code, 'REUSE_NOT_POSSIBLE');
      assert.is(error?.status, 400);
      assert.match(error?.message ?? '', /made from JavaScript.*without --reuse/);
      assert.is(await check(path, engine, { reuse: 1 }), null);
      assert.is(await check(await guest('behaviours'), engine, { reuse: 2 }), null);
    }
  },
);

offer.run();
