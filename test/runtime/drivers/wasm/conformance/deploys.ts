import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { SkerryError } from '../../../../../errors/skerry-error.ts';
import type { ComponentFile } from '../../../../../runtime/drivers/wasm/engine.ts';
import { componentFile, type Guest, guest, guestComponent } from '../../../../support/guests.ts';
import { ask, type Bench, limits } from './bench.ts';

async function refused(work: Promise<unknown>): Promise<SkerryError> {
  const error = await work.then(
    () => null,
    (thrown) => thrown,
  );
  assert.instance(error, SkerryError, `refused with ${error}`);
  return error as SkerryError;
}

export function deploys(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: components at deploy`);

  test('a component compiles once and can be loaded after that', async () => {
    const component = await guestComponent('behaviours');
    await bench.engine.compile(component);
    await bench.engine.compile(component);
    const { fn } = await bench.load('behaviours');
    assert.is((await ask(fn, { target: '/hello' })).status, 200);
    await fn.close();
  });

  const bad: [what: string, name: Guest, code: RegExp, says: RegExp][] = [
    ['a core module', 'core-module', /^(CORE_MODULE|COMPONENT_INVALID)$/, /./],
    ['a component without an HTTP handler', 'no-handler', /^NO_HTTP_HANDLER$/, /no HTTP handler/],
    ['a table of 60 million elements', 'large-table', /^COMPONENT_TOO_LARGE$/, /60000000.*(100000|10000000)\b/],
    ['a component that imports what is not offered', 'foreign-import', /^IMPORT_NOT_OFFERED$/, /acme:rockets\/launch/],
  ];
  for (const [what, name, code, says] of bad) {
    test(`${what} is refused, and it is said why`, async () => {
      const error = await refused(bench.load(name));
      assert.match(error.code, code);
      assert.is(error.status, 400);
      assert.match(error.message, says);
    });
  }

  async function made(name: string, content: Uint8Array): Promise<ComponentFile> {
    const path = join(bench.options.cacheDir, name);
    await writeFile(path, content);
    return componentFile(path);
  }

  test('a truncated component is refused', async () => {
    const whole = await readFile(await guest('behaviours'));
    const component = await made('truncated.wasm', whole.subarray(0, whole.length / 2));
    assert.is((await refused(bench.engine.compile(component))).code, 'COMPONENT_INVALID');
  });

  test('a component whose code is not valid is refused', async () => {
    const whole = Buffer.from(await readFile(await guest('behaviours')));
    // Wherever its code lies.
    for (let eighth = 1; eighth < 8; eighth++) {
      const at = Math.trunc((whole.length * eighth) / 8);
      whole.fill(0xff, at, at + 64);
    }
    const component = await made('garbled.wasm', whole);
    assert.is((await refused(bench.engine.compile(component))).code, 'COMPONENT_INVALID');
  });

  test('a component that cannot start within its memory limit is refused, or fails by it', async () => {
    const tiny = { ...limits, memoryBytes: 256 * 1024 };
    const error = await refused(
      bench.load('behaviours', { limits: tiny }).then(({ fn }) => ask(fn, { target: '/hello' })),
    );
    assert.match(error.code, /^(MEMORY_BELOW_INITIAL|FUNCTION_MEMORY)$/);
    assert.match(error.message, /256 KiB/);
  });

  test.run();
}
