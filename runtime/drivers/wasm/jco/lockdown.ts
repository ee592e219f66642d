/**
 * Takes from the worker's global scope what generated code has no use for. The code is made by jco from names that a
 * stranger chose; if its escaping ever failed, what runs then must not find the process, the files or the network.
 */

/** What the generated code and the shims need, beside the language's own objects. */
const kept = new Set(['WebAssembly', 'TextEncoder', 'TextDecoder', 'globalThis']);

/** The language's own global names (ECMA-262, section 19). */
const language = new Set([
  ...['Infinity', 'NaN', 'undefined', 'isFinite', 'isNaN', 'parseFloat', 'parseInt'],
  ...['decodeURI', 'decodeURIComponent', 'encodeURI', 'encodeURIComponent', 'escape', 'unescape'],
  ...['AggregateError', 'Array', 'ArrayBuffer', 'BigInt', 'BigInt64Array', 'BigUint64Array', 'Boolean', 'DataView'],
  ...['Date', 'Error', 'EvalError', 'FinalizationRegistry', 'Float32Array', 'Float64Array', 'Function'],
  ...['Int8Array', 'Int16Array', 'Int32Array', 'Iterator', 'Map', 'Number', 'Object', 'Promise', 'Proxy', 'RangeError'],
  ...['ReferenceError', 'RegExp', 'Set', 'SharedArrayBuffer', 'String', 'Symbol', 'SyntaxError', 'TypeError'],
  ...['Uint8Array', 'Uint8ClampedArray', 'Uint16Array', 'Uint32Array', 'URIError', 'WeakMap', 'WeakRef', 'WeakSet'],
  ...['Atomics', 'JSON', 'Math', 'Reflect', 'Intl'],
]);

/** What the generated code calls before it throws. It would show nothing: the error it logs is thrown as well. */
const silent = Object.freeze({ error() {}, debug() {}, log() {}, warn() {} });

export function lockDown(): void {
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    if (kept.has(name) || language.has(name)) continue;
    Reflect.deleteProperty(globalThis, name);
  }
  Object.defineProperty(globalThis, 'console', { value: silent });
  Object.freeze(WebAssembly);
}
