import { openWasmtimeEngine } from '../../../../../runtime/drivers/wasm/wasmtime/index.ts';
import { wasmConformance } from '../conformance.ts';

wasmConformance('wasmtime', openWasmtimeEngine, { p3: true });
