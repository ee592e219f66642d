// Placeholder until the native engine's wrapper is here: replace this file.
import type { EngineOptions, WasmEngine } from '../engine.ts';
import { wasmErrors } from '../errors.ts';
export function wasmtimeAvailable() {
  return { available: false, version: '', why: 'the native engine is not built' };
}
export async function openWasmtimeEngine(_options: EngineOptions): Promise<WasmEngine> {
  throw wasmErrors.ENGINE_UNAVAILABLE('wasmtime', 'the native engine is not built');
}
