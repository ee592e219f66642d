/** A JavaScript hello that every server can run: what Skerry builds imports interfaces that `wasmtime serve` lacks. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { componentize } from '@bytecodealliance/componentize-js';
import { componentizeVersion, worldText } from '../../images/build/javascript/toolchain.ts';
import { cacheFolder, keptFile } from '../../test/support/cache.ts';

const source = `addEventListener('fetch', (event) =>
  event.respondWith(new Response('Hello\\n', { headers: { 'content-type': 'text/plain; charset=utf-8' } })));
`;

/** The world of functions without the services. */
const world = worldText.replace(/^ {2}import (?:wasi:(?:config|keyvalue|logging)\/.*|outbound);\n/gm, '');

/** The path of the component, 13 MB; made once, by componentize-js as it comes. */
export function plainJavaScript(): Promise<string> {
  const key = createHash('sha256').update(componentizeVersion).update(source).update(world).digest('hex');
  const path = join(cacheFolder('bench'), `hello-${key.slice(0, 16)}.wasm`);
  return keptFile(path, async () => (await componentize(source, world)).component);
}
