import { openJcoEngine } from '../../../../../runtime/drivers/wasm/jco/index.ts';
import { wasmConformance } from '../conformance.ts';

wasmConformance('jco', openJcoEngine, { p3: false });
