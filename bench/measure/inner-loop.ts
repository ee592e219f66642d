/** How long a developer waits for a one-line change of a JavaScript function, and for which step. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleSource } from '../../cli/bundle.ts';
import { buildJavaScript } from '../../images/build/javascript/index.ts';
import type { EngineOptions, WasmEngine } from '../../runtime/drivers/wasm/engine.ts';
import { limitsOf } from '../../runtime/workload/revision-of.ts';
import { makeExchange } from '../../test/support/exchange.ts';
import { noServices } from '../../test/support/services.ts';
import { median } from './statistics.ts';

/** The steps in their order, and how long each took, in milliseconds. */
export type Steps = ReadonlyMap<string, number>;

type OpenEngine = (options: EngineOptions) => Promise<WasmEngine>;

const limits = limitsOf({}, 'wasm');

/** What a deploy does with a source, `changes` times after a first one; medians of all but the first. */
export async function measureInnerLoop(open: OpenEngine, changes: number): Promise<{ first: Steps; next: Steps }> {
  const folder = await mkdtemp(join(tmpdir(), 'skerry-bench-'));
  const engine = await open({ cacheDir: join(folder, 'code'), cacheKey: Buffer.alloc(32, 1), warn: () => {} });
  try {
    const runs: Steps[] = [];
    for (let change = 0; change <= changes; change++) runs.push(await deploy(engine, folder, change));
    const [first, ...rest] = runs as [Steps, ...Steps[]];
    const next = new Map([...rest[0]!.keys()].map((step) => [step, median(rest.map((run) => run.get(step) ?? 0))]));
    return { first, next };
  } finally {
    await engine.close();
    await rm(folder, { recursive: true });
  }
}

async function deploy(engine: WasmEngine, folder: string, change: number): Promise<Steps> {
  const steps = new Map<string, number>();
  let step = 'bundle';
  let from = performance.now();
  const began = (next: string) => {
    const now = performance.now();
    steps.set(step, (steps.get(step) ?? 0) + now - from);
    step = next;
    from = now;
  };
  const file = join(folder, 'function.ts');
  const component = join(folder, 'component.wasm');
  await writeFile(file, `export default { fetch: () => new Response('change ${change}') };`);
  const { source } = await bundleSource(file);
  began('start of the builder');
  const bytes = await buildJavaScript(source, { cacheFolder: join(folder, 'build'), progress: began });
  began('compile');
  await writeFile(component, bytes);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  await engine.compile({ digest, path: component });
  began('load');
  const settings = { label: `bench@${change}`, limits, env: {}, ...noServices(), reuse: 1, output: () => {} };
  // A deploy loads it twice: to check it, and to serve.
  await (await engine.load({ digest, path: component }, settings)).close();
  const fn = await engine.load({ digest, path: component }, settings);
  began('first request');
  await fn.handle(makeExchange({ deadlineMs: 60_000 }).exchange);
  began('');
  await fn.close();
  return steps;
}
