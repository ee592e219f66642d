/** A JavaScript hello that every server can run: what Skerry builds imports interfaces that `wasmtime serve` lacks. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { componentize } from '@bytecodealliance/componentize-js';
import { componentizeVersion, worldText } from '../../images/build/javascript/toolchain.ts';

const source = `addEventListener('fetch', (event) =>
  event.respondWith(new Response('Hello\\n', { headers: { 'content-type': 'text/plain; charset=utf-8' } })));
`;

/** The world of functions without the services. */
const world = worldText.replace(/^ {2}import wasi:(config|keyvalue|logging)\/.*;\n/gm, '');

const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skerry', 'bench');

/** The path of the component, 13 MB; made once, by componentize-js as it comes. */
export async function plainJavaScript(): Promise<string> {
  const key = createHash('sha256').update(componentizeVersion).update(source).update(world).digest('hex');
  const path = join(folder, `hello-${key.slice(0, 16)}.wasm`);
  if (existsSync(path)) return path;
  await mkdir(folder, { recursive: true });
  const { component } = await componentize(source, world);
  const part = `${path}.${process.pid}`;
  await writeFile(part, component);
  await rename(part, path);
  return path;
}
