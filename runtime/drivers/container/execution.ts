/** Further processes in a container. */
import { Readable, Writable } from 'node:stream';
import type { ProcessStreams } from '../../driver.ts';
import type { CheckTarget } from '../../health/run-check.ts';
import type { InnerSockets } from '../../network/inner-sockets.ts';
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

/** A container as its health checks see it. */
export function checkTarget(
  container: HostedContainer,
  loopback: InnerSockets,
  context: Omit<ContainerProcess, 'command'>,
): CheckTarget {
  return {
    connect: (port, timeoutMs) => loopback.connect(port, timeoutMs),
    exec(command, output, signal) {
      const taking = () =>
        new Writable({
          write(data: Buffer, _encoding, done) {
            output(data);
            done();
          },
        });
      const streams = { stdin: Readable.from([]), stdout: taking(), stderr: taking() };
      return executeIn(container, { ...context, command }, streams, signal);
    },
  };
}
