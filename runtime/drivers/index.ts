/** The drivers of a node: each listed once. */
export { WasmDriver, type WasmDriverOptions } from './wasm/driver.ts';
