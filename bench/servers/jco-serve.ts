import { join } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';
import { freePort, type StartServer, serve } from './process.ts';

export function jcoServe(name: string, component: string, path: string, flags: readonly string[] = []): StartServer {
  return async () => {
    const port = await freePort();
    const jco = join(projectRoot, 'node_modules', '@bytecodealliance', 'jco', 'dist', 'jco.js');
    const args = [jco, 'serve', component, '--port', String(port), ...flags];
    return serve(name, process.execPath, args, `http://127.0.0.1:${port}${path}`);
  };
}
