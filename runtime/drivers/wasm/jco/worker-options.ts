import type { WorkerOptions } from 'node:worker_threads';

/** Nothing of the node's own reaches a worker: no environment, no arguments, no standard streams. */
export const isolatedWorker: WorkerOptions = {
  env: {},
  argv: [],
  execArgv: [],
  stdin: false,
  stdout: true,
  stderr: true,
};
