/** Further processes in a container. */
import type { ProcessStreams } from '../../driver.ts';
import type { ContainerProcess, Execution, HostedContainer } from './host.ts';
import { ProcessPipes } from './stdio.ts';

/** As `Instance.exec`. */
export async function executeIn(
  container: HostedContainer,
  process: ContainerProcess,
  streams: ProcessStreams,
  signal: AbortSignal,
): Promise<number> {
  const pipes = await ProcessPipes.open();
  let execution: Execution;
  try {
    execution = await container.exec(process, pipes.inside);
  } catch (error) {
    await pipes.discard();
    throw error;
  }
  await pipes.given();
  const kill = () => void execution.kill().catch(() => {});
  if (signal.aborted) kill();
  signal.addEventListener('abort', kill);
  try {
    await pipes.connect(streams, execution.exited);
    return await execution.exited;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}
