/** The child process that builds one component and ends: `dist/componentize-child.js`. */
import { rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import { componentize } from './componentize.ts';
import { type BuildMessage, type BuildRequest, BuildStopped } from './protocol.ts';

/** Requests that are served meanwhile come first. */
const niceness = 10;

function say(message: BuildMessage): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(message, undefined, undefined, () => resolve());
  });
}

/** The node is gone: nobody waits for the component, nor will anybody clear up. */
function abandon(workFolder: string): void {
  rmSync(workFolder, { recursive: true, force: true });
  // The whole group, with what this process started: it leads one of its own.
  process.kill(-process.pid, 'SIGKILL');
}

async function build(request: BuildRequest): Promise<BuildMessage> {
  try {
    return { type: 'built', path: await componentize(request, (step) => void say({ type: 'progress', step })) };
  } catch (error) {
    if (error instanceof BuildStopped) return { type: 'problem', problem: error.problem };
    const why = error instanceof Error ? error.message : String(error);
    return { type: 'problem', problem: { kind: 'broken', why } };
  }
}

setPriority(niceness);
process.once('message', async (request: BuildRequest) => {
  const end = () => abandon(request.workFolder);
  process.once('disconnect', end);
  const answer = await build(request);
  process.off('disconnect', end);
  await say(answer);
  process.disconnect();
  process.exit(0);
});
