export { openWasmtimeEngine } from './engine.ts';
export { type Availability, wasmtimeAvailable } from './library.ts';
