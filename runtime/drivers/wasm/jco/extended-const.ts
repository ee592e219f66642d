import { setFlagsFromString } from 'node:v8';

/** A module with a global that is 1 + 1. */
const sum = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 6, 9, 1, 0x7f, 0, 0x41, 1, 0x41, 1, 0x6a, 0x0b);

/**
 * Extended constant expressions are a part of WebAssembly 3.0 that the linkers of C toolchains use for position-independent
 * code: CPython as componentize-py builds it has them. The V8 of Node.js 20 (11.3) has them behind a flag, which V8
 * turned on by itself in 11.4. Call it before the first thread of a guest: flags are the process's.
 */
export function allowExtendedConst(): void {
  if (!WebAssembly.validate(sum)) setFlagsFromString('--experimental-wasm-extended-const');
}
