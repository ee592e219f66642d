import { defineErrors } from '../../../errors/skerry-error.ts';

export const wasmErrors = defineErrors({
  // At deploy: the component itself.
  NOT_WASM: {
    status: 400,
    what: (name: string) => `${name} is not WebAssembly (its first bytes are not "\\0asm")`,
    fix: 'give a .wasm component, or a .ts or .js file to build one from',
  },
  CORE_MODULE: {
    status: 400,
    what: (name: string) => `${name} is a core WebAssembly module, not a component`,
    fix: 'build for the target wasm32-wasip2, or wrap it with `wasm-tools component new`',
  },
  COMPONENT_INVALID: {
    status: 400,
    what: (name: string, why: string) => `${name} is not a valid component: ${why}`,
    fix: 'build it again, and check that the file was copied whole',
  },
  COMPONENT_TOO_LARGE: {
    status: 400,
    what: (name: string, why: string) => `${name} asks for more than an instance may have: ${why}`,
    fix: 'build it with smaller tables and fewer memories and modules',
  },
  IMPORT_NOT_OFFERED: {
    status: 400,
    what: (name: string, imports: string) => `${name} imports what Skerry does not offer: ${imports}`,
    fix: 'build it against wasi:http and the WASI interfaces listed by `skerry doctor`',
  },
  NO_HTTP_HANDLER: {
    status: 400,
    what: (name: string) => `${name} exports no HTTP handler`,
    fix: 'export wasi:http/incoming-handler@0.2.x (or wasi:http/handler@0.3.x): in JavaScript a default export { fetch }',
  },
  ENGINE_LACKS_P3: {
    status: 400,
    what: (name: string) => `${name} is a WASI 0.3 component, which the jco engine cannot run on this Node.js`,
    fix: 'run the node on the native engine: `npm run build`, then start it again',
  },
  REUSE_NOT_POSSIBLE: {
    status: 400,
    what: (name: string, reuse: number) =>
      `${name} cannot serve ${reuse} requests with one instance: it was made from JavaScript, whose engine serves one request and no more`,
    fix: 'deploy it without --reuse',
  },
  MEMORY_BELOW_INITIAL: {
    status: 400,
    what: (name: string, needs: string, limit: string) =>
      `${name} needs ${needs} of memory to start, and its limit is ${limit}`,
    fix: 'raise --memory',
  },
  ENGINE_UNAVAILABLE: {
    status: 503,
    what: (engine: string, why: string) => `the ${engine} engine cannot be used: ${why}`,
    fix: 'run `npm run build`, or start the node with --engine jco',
    retryAfter: 60,
  },
  NOT_FOR_WASM: {
    status: 400,
    what: (what: string) => `${what} is not possible with a Wasm function`,
    fix: 'deploy it as a container or a VM',
  },
  COMPONENT_UNREADABLE: {
    status: 500,
    what: (name: string, why: string) => `the component ${name} cannot be read: ${why}`,
    fix: 'check the data folder and its disk, or deploy it again',
  },
  ENGINE_FAULT: {
    status: 500,
    what: (why: string) => `the Wasm engine failed: ${why}`,
    fix: 'look in the log of the node and report it',
  },
  ENGINE_FULL: {
    status: 503,
    what: () => 'every place of the Wasm engine is taken',
    fix: 'try again, or lower --concurrency of the functions on this node',
    retryAfter: 1,
  },
  // While a function runs.
  REQUEST_BROKEN: {
    status: 400,
    what: () => 'the request broke off before its body was complete',
    fix: 'send it again',
  },
  REQUEST_NOT_EXPRESSIBLE: {
    status: 400,
    what: (why: string) => `the request cannot be given to a WebAssembly function: ${why}`,
    fix: 'send a request whose method, path, Host and headers follow RFC 9110',
  },
  FUNCTION_TRAPPED: {
    status: 500,
    what: (why: string) => `the function trapped: ${why}`,
    fix: 'see its log with `skerry logs`',
  },
  FUNCTION_EXITED: {
    status: 500,
    what: (status: string) => `the function exited with status ${status} before its answer was complete`,
    fix: 'see why in its log with `skerry logs`; a function answers and returns, and does not exit',
  },
  // Without the exception's message: that was not written for those who send requests.
  FUNCTION_THREW: {
    status: 500,
    what: () => 'the function threw an exception that nothing caught',
    fix: 'see the exception and its stack in the log with `skerry logs`',
  },
  FUNCTION_NO_ANSWER: {
    status: 500,
    what: () => 'the function returned without answering',
    fix: 'make sure that every path of the handler sets a response; see `skerry logs`',
  },
  FUNCTION_BAD_ANSWER: {
    status: 500,
    what: (why: string) => `the function gave an answer that is not valid HTTP: ${why}`,
    fix: 'correct the status, headers or Content-Length that it sets; see `skerry logs`',
  },
  FUNCTION_ERROR: {
    status: 500,
    what: (why: string) => `the function answered with an error: ${why}`,
    fix: 'see its log with `skerry logs`',
  },
  FUNCTION_MEMORY: {
    status: 500,
    what: (limit: string) => `the function went past its memory limit of ${limit}`,
    fix: 'raise --memory, or make it use less',
  },
  FUNCTION_CPU: {
    status: 500,
    what: () => 'the function used more CPU time than one request may',
    fix: 'raise --cpu-time, or make it compute less',
  },
  FUNCTION_DEADLINE: {
    status: 504,
    what: () => 'the function did not finish by its deadline',
    fix: 'raise --timeout, or make it faster',
  },
  FUNCTION_STOPPED: {
    status: 503,
    what: () => 'the function was stopped while the request ran',
    fix: 'try again',
    retryAfter: 1,
  },
});
