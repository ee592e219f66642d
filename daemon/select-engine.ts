/** Which Wasm engine the node runs on. */

import type { EngineName, EngineOptions, WasmEngine } from '../runtime/drivers/wasm/engine.ts';
import { wasmErrors } from '../runtime/drivers/wasm/errors.ts';
import { openJcoEngine } from '../runtime/drivers/wasm/jco/index.ts';
import { openWasmtimeEngine, wasmtimeAvailable } from '../runtime/drivers/wasm/wasmtime/index.ts';

export interface SelectedEngine {
  readonly engine: WasmEngine;
  /** What the operator should know about the choice, or null. */
  readonly notice: string | null;
}

/** Throws ENGINE_UNAVAILABLE when the engine asked for cannot be used; `auto` falls back to jco. */
export async function selectEngine(wanted: 'auto' | EngineName, options: EngineOptions): Promise<SelectedEngine> {
  if (wanted === 'jco') return { engine: await openJcoEngine(options), notice: null };
  const native = wasmtimeAvailable();
  if (native.available) return { engine: await openWasmtimeEngine(options), notice: null };
  if (wanted === 'wasmtime') throw wasmErrors.ENGINE_UNAVAILABLE('wasmtime', native.why);
  const notice =
    `serving on the jco engine (${native.why}): the native engine answers many times faster, stops a function within ` +
    'milliseconds of its deadline and runs WASI 0.3; get it with `npm run build` (needs Rust), then start again';
  return { engine: await openJcoEngine(options), notice };
}
