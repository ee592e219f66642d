import { freePort, peerCommand, type StartServer, serve } from './process.ts';

/** The pool settings of native/wasm, as far as the command has flags for them. */
export const TUNED = [
  '-Opooling-allocator=y',
  '-Opooling-memory-keep-resident=33554432',
  '-Opooling-table-keep-resident=1048576',
  '-Opooling-async-stack-keep-resident=262144',
  '-Opooling-pagemap-scan=y',
];

/** `wasmtime serve`; without flags as it comes. */
export function wasmtimeServe(
  name: string,
  component: string,
  path: string,
  flags: readonly string[] = [],
): StartServer {
  return async () => {
    const port = await freePort();
    const args = ['serve', '-Scli', ...flags, '--addr', `127.0.0.1:${port}`, component];
    return serve(name, peerCommand('wasmtime'), args, `http://127.0.0.1:${port}${path}`);
  };
}
