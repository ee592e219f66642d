/**
 * Deploys until it is done or ends itself with SIGKILL at the named step. Arguments: folder, file for what it has
 * acknowledged, number of deployments, step to die at (or `-`), how often that step is passed before.
 */
import { openSync, writeSync } from 'node:fs';
import { runDeployments } from './deployments.ts';

const [folder, promisesFile, deployments, fatalStep, passes] = process.argv.slice(2);
const promises = openSync(promisesFile!, 'a');
let left = Number(passes);

await runDeployments({
  folder: folder!,
  deployments: Number(deployments),
  onStep: (step) => {
    if (step === fatalStep && left-- === 0) process.kill(process.pid, 'SIGKILL');
  },
  acknowledge: (promise) => writeSync(promises, `${promise}\n`),
});
