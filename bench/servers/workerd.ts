import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';
import { freePort, type Server, serve } from './process.ts';

/** workerd with a JavaScript hello of its own; all requests share one isolate. */
export async function workerd(): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 'skerry-bench-'));
  const port = await freePort();
  await writeFile(join(folder, 'hello.js'), 'export default { fetch() { return new Response("hello"); } };');
  await writeFile(
    join(folder, 'config.capnp'),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [(name = "hello.js", esModule = embed "hello.js")], compatibilityDate = "2024-01-01"))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);`,
  );
  const command = join(projectRoot, 'node_modules', '@cloudflare', 'workerd-linux-64', 'bin', 'workerd');
  const name = 'workerd, its own JavaScript hello in one isolate';
  return serve(name, command, ['serve', join(folder, 'config.capnp')], `http://127.0.0.1:${port}/`, () =>
    rm(folder, { recursive: true, force: true }),
  );
}
