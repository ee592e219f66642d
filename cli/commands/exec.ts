/** `skerry exec`: a command in a container, with the streams of this one. */
import type { Context } from '../context.ts';
import { ProcessStatus } from '../process-status.ts';

export async function exec({ client, terminal }: Context, name: string, command: readonly string[]): Promise<void> {
  const { stdin, stdout, stderr } = terminal;
  try {
    const { status } = await client.exec({ name, command: [...command] }, { stdin, stdout, stderr });
    if (status !== 0) throw new ProcessStatus(status);
  } finally {
    stdin.destroy();
  }
}
