/** The child process that builds one component and ends: `dist/componentize-child.js`. */
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

function end(): void {
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
process.once('disconnect', end);
process.once('message', async (request: BuildRequest) => {
  const answer = await build(request);
  process.off('disconnect', end);
  await say(answer);
  process.disconnect();
  process.exit(0);
});
