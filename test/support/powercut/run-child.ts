import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { build } from 'esbuild';
import { projectRoot } from '../../../errors/project-root.ts';

const lmdb = import.meta.resolve('lmdb');

/** Bundles the child into `folder`, since a start through tsx would take several times as long. Returns the script. */
export async function bundleChild(folder: string, name = 'child'): Promise<string> {
  const script = join(folder, `${name}.mjs`);
  await build({
    entryPoints: [join(projectRoot, `test/support/powercut/${name}.ts`)],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    plugins: [
      { name: 'lmdb', setup: (own) => own.onResolve({ filter: /^lmdb$/ }, () => ({ path: lmdb, external: true })) },
    ],
  });
  return script;
}

export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function runChild(script: string, parameters: string[], env: NodeJS.ProcessEnv = {}): Promise<ChildEnd> {
  return run(process.execPath, [script, ...parameters], env);
}

/** Runs a command to its end; never rejects because of how it ends. */
export function run(command: string, parameters: string[], env: NodeJS.ProcessEnv = {}): Promise<ChildEnd> {
  return new Promise((resolve, reject) => {
    const options = { env: { ...process.env, NODE_OPTIONS: '', ...env } };
    const child = spawn(command, parameters, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => {
      stdout += data;
    });
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
