import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ComponentFile, WasmEngine } from '../../../../../runtime/drivers/wasm/engine.ts';
import { openWasmtimeEngine } from '../../../../../runtime/drivers/wasm/wasmtime/index.ts';
import { guestComponent } from '../../../../support/guests.ts';
import { noServices } from '../../../../support/services.ts';
import { ask, limits } from '../conformance/bench.ts';

interface Context {
  cacheDir: string;
  component: ComponentFile;
  warnings: string[];
}

const test = suite<Context>('the cache of compiled code');

test.before.each(async (context) => {
  context.cacheDir = await mkdtemp(join(tmpdir(), 'skerry-cache-'));
  context.component = await guestComponent('behaviours');
  context.warnings = [];
});

test.after.each(async ({ cacheDir }) => {
  await rm(cacheDir, { recursive: true });
});

/** Opens an engine on the cache, asks the function once, and closes it. */
async function serveOnce({ cacheDir, component, warnings }: Context, key = 1): Promise<void> {
  await using_(cacheDir, warnings, key, async (engine) => {
    const settings = { label: 'f@1', limits, env: {}, ...noServices(), reuse: 1, output: () => {} };
    const fn = await engine.load(component, settings);
    assert.is((await ask(fn, { target: '/hello' })).body.toString(), 'hello');
  });
}

async function using_(
  cacheDir: string,
  warnings: string[],
  key: number,
  work: (engine: WasmEngine) => Promise<void>,
): Promise<void> {
  const warn = (message: string) => warnings.push(message);
  const engine = await openWasmtimeEngine({ cacheDir, cacheKey: Buffer.alloc(32, key), warn });
  try {
    await work(engine);
  } finally {
    await engine.close();
  }
}

async function files(cacheDir: string, ending: string): Promise<string[]> {
  const names = await readdir(cacheDir);
  // Beside the code of components there are the functions that the compiler may use again.
  const components = names.filter((name) => name.endsWith(ending) && !name.startsWith('functions-'));
  return components.map((name) => join(cacheDir, name));
}

async function code({ cacheDir }: Context): Promise<string> {
  const found = await files(cacheDir, '.cwasm');
  assert.is(found.length, 1);
  return found[0]!;
}

test('a component is compiled once: the next engine loads what this one wrote', async (context) => {
  await serveOnce(context);
  const before = await stat(await code(context));
  await serveOnce(context);
  const after = await stat(await code(context));
  assert.is(after.ino, before.ino);
  assert.is(after.mtimeMs, before.mtimeMs);
  assert.equal(context.warnings, []);
});

test('only the user of the node can read it', async (context) => {
  await serveOnce(context);
  assert.is((await stat(await code(context))).mode & 0o777, 0o600);
});

const damages: [what: string, damage: (context: Context) => Promise<void>][] = [
  [
    'one byte of it was changed',
    async (context) => {
      const path = await code(context);
      const bytes = await readFile(path);
      bytes[bytes.length >> 1]! ^= 1;
      await writeFile(path, bytes);
    },
  ],
  [
    'it was cut short',
    async (context) => {
      const path = await code(context);
      await writeFile(path, (await readFile(path)).subarray(0, 10_000));
    },
  ],
  [
    'its tag is missing',
    async (context) => {
      for (const path of await files(context.cacheDir, '.tag')) await rm(path);
    },
  ],
  [
    'its tag is not a tag',
    async (context) => {
      for (const path of await files(context.cacheDir, '.tag')) await writeFile(path, 'yes');
    },
  ],
];
for (const [what, damage] of damages) {
  test(`code is made again, with a warning, when ${what}`, async (context) => {
    await serveOnce(context);
    const before = (await stat(await code(context))).ino;
    await damage(context);
    await serveOnce(context);
    assert.is.not((await stat(await code(context))).ino, before);
    assert.is(context.warnings.length, 1, context.warnings.join('\n'));
    assert.match(context.warnings[0]!, /made again/);
  });
}

test('code of another node is not loaded, whatever is in it', async (context) => {
  await serveOnce(context, 1);
  await serveOnce(context, 2);
  assert.is(context.warnings.length, 1, context.warnings.join('\n'));
  assert.match(context.warnings[0]!, /tag is not this node's/);
});

test('code of one component does not pass for that of another', async (context) => {
  await serveOnce(context);
  const path = await code(context);
  const other = await guestComponent('loop-at-start');
  for (const [from, to] of [
    [path, path.replace(context.component.digest.slice(7), other.digest.slice(7))],
    [
      path.replace(/cwasm$/, 'tag'),
      path.replace(context.component.digest.slice(7), other.digest.slice(7)).replace(/cwasm$/, 'tag'),
    ],
  ] as const) {
    await writeFile(to, await readFile(from));
  }
  await using_(context.cacheDir, context.warnings, 1, (engine) => engine.compile(other));
  assert.is(context.warnings.length, 1, context.warnings.join('\n'));
});

test('what is forgotten is gone from the disk', async (context) => {
  await using_(context.cacheDir, context.warnings, 1, async (engine) => {
    await engine.compile(context.component);
    await engine.compile(await guestComponent('loop-at-start'));
    assert.is((await files(context.cacheDir, '')).length, 4);
    await engine.forget(context.component.digest);
    assert.is((await files(context.cacheDir, '')).length, 2);
    await engine.forget(context.component.digest);
  });
});

test.run();
