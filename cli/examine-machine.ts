import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { projectRoot } from '../errors/project-root.ts';
import { problemError } from '../gateway/admin/client.ts';
import { text } from '../gateway/admin/client-stream.ts';
import { Doctor, Problem } from '../gateway/admin/schemas.ts';
import type { ConnectionFlags } from './connection.ts';
import { cliErrors } from './errors.ts';
import type { Terminal } from './terminal.ts';

/**
 * What a node on this machine could run. The daemon finds that out, in a process of its own, as it would start: the
 * command line has none of its code. Throws what the daemon says, and NOT_EXAMINED when it says nothing that can be read.
 */
export async function examineMachine({ data }: ConnectionFlags, env: Terminal['env']): Promise<Doctor> {
  const flags = data === undefined ? [] : ['--data', data];
  const child = spawn(process.execPath, [join(projectRoot, 'bin', 'skerry.js'), 'examine', ...flags], {
    env: { ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  let said: unknown;
  try {
    said = JSON.parse(stdout);
  } catch (error) {
    throw cliErrors.NOT_EXAMINED(stderr.split('\n')[0] || 'no report came').because(error);
  }
  const problem = Problem.safeParse(said);
  if (problem.success) throw problemError(problem.data);
  return Doctor.parse(said);
}
