/** The drivers of a node: each listed once. */
export { ContainerDriver, type ContainerDriverOptions } from './container/driver.ts';
export { MicrovmDriver, type MicrovmDriverOptions } from './microvm/driver.ts';
export { WasmDriver, type WasmDriverOptions } from './wasm/driver.ts';
