/** Runs transpile-worker.ts for a component. */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { projectRoot } from '../../../../errors/project-root.ts';
import type { SkerryError } from '../../../../errors/skerry-error.ts';
import { wasmErrors } from '../errors.ts';
import type { Refusal, Transpiled, TranspileReply } from './transpiled.ts';
import { isolatedWorker } from './worker-options.ts';

/** A component of 13 MB takes 2.5 s; one that takes longer than this, in milliseconds, is made to. */
const timeout = 120_000;
/** MiB of JavaScript heap: the generated code and jco's own lists. Its WebAssembly memory comes on top. */
const heapMb = 512;

/** Transpiles a component's bytes, away from the caller's thread. Throws a SkerryError when it is not one for this engine. */
export async function transpileComponent(name: string, component: Uint8Array): Promise<Transpiled> {
  const worker = new Worker(join(projectRoot, 'dist', 'jco-transpile-worker.js'), {
    workerData: component,
    ...isolatedWorker,
    resourceLimits: { maxOldGenerationSizeMb: heapMb },
  });
  worker.stdout.resume();
  worker.stderr.resume();
  let timer: NodeJS.Timeout | undefined;
  const reply = await new Promise<TranspileReply>((resolve) => {
    worker.once('message', resolve);
    worker.once('error', (error) => resolve({ kind: 'failed', message: String(error) }));
    worker.once('exit', (status) => resolve({ kind: 'failed', message: `the thread ended with ${status}` }));
    timer = setTimeout(() => resolve({ kind: 'failed', message: 'it took too long' }), timeout);
  });
  clearTimeout(timer);
  await worker.terminate();
  if (reply.kind === 'transpiled') return reply.transpiled;
  if (reply.kind === 'refused') throw refused(name, reply.refusal);
  throw wasmErrors.COMPONENT_INVALID(name, 'it could not be transpiled').because(new Error(reply.message));
}

function refused(name: string, refusal: Refusal): SkerryError {
  if ('why' in refusal) return wasmErrors[refusal.code](name, refusal.why);
  return wasmErrors[refusal.code](name);
}
