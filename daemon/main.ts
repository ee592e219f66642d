/**
 * `skerry up`: starts a node in the foreground, and stops it on SIGINT or SIGTERM; for root as an unprivileged user, with
 * hostd beside it, which calls this again as `node`. `skerry examine`, which the command `doctor` calls where no node runs:
 * prints what a node could run here, or a problem, as JSON.
 */
import { join } from 'node:path';
import { projectRoot } from '../errors/project-root.ts';
import { asSkerryError } from '../errors/skerry-error.ts';
import { readSettings } from './config.ts';
import { CHANNEL_FD, whyNotSplit } from './hostd/split.ts';
import { makeLog } from './log.ts';

async function up(argv: readonly string[]): Promise<void> {
  const settings = await readSettings(argv, process.env);
  if (!settings) return;
  const log = makeLog(settings['log-level']);
  const whole = whyNotSplit();
  if (whole === null) {
    const { superviseNode } = await import('./hostd/supervisor.ts');
    process.exit(await superviseNode(settings, join(projectRoot, 'dist', 'daemon.js'), log));
  }
  if (process.geteuid?.() === 0) log.warn(`the node runs as root as a whole: ${whole}`);
  const { ownPrivileges } = await import('./privileges.ts');
  const { runNode } = await import('./run-node.ts');
  await runNode(settings, ownPrivileges, log, async (urls, data) => {
    process.send?.({ ready: true, ...urls, data });
    process.disconnect?.();
  });
}

/** The node itself, as hostd starts it. */
async function node(): Promise<void> {
  const { HostdClient } = await import('./hostd/client.ts');
  const hostd = await HostdClient.open(CHANNEL_FD, () => {
    process.stderr.write('the privileged helper of the node has ended; the node ends too\n');
    process.exit(1);
  });
  const log = makeLog(hostd.settings['log-level']);
  const { runNode } = await import('./run-node.ts');
  await runNode(hostd.settings, hostd, log, (urls) => hostd.ready(urls));
}

async function printExamination(argv: readonly string[]): Promise<void> {
  const { examineMachine } = await import('./examine-machine.ts');
  const settings = await readSettings(argv, process.env);
  if (settings) process.stdout.write(`${JSON.stringify(await examineMachine(settings))}\n`);
}

const [, , command, ...flags] = process.argv;
try {
  if (command === 'examine') await printExamination(flags);
  else if (command === 'node') await node();
  else await up(flags);
} catch (thrown) {
  const error = asSkerryError(thrown);
  if (command === 'examine') {
    const { problemBody } = await import('../gateway/problem.ts');
    process.stdout.write(problemBody(error, ''));
  } else process.stderr.write(`${error.message.replaceAll('\n', ' ')}\n`);
  if (error.code === 'INTERNAL' && process.env.SKERRY_DEBUG) process.stderr.write(`${(thrown as Error).stack}\n`);
  process.exit(error.exit);
}
