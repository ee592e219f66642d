/**
 * `skerry up`: starts a node in the foreground, and stops it on SIGINT or SIGTERM. `skerry examine`, which the command
 * `doctor` calls where no node runs: prints what a node could run here, or a problem, as JSON.
 */
import { asSkerryError } from '../errors/skerry-error.ts';
import { problemBody } from '../gateway/problem.ts';
import { readSettings } from './config.ts';
import { makeLog } from './log.ts';
import { startNode } from './node.ts';

/** One Ctrl-C may reach the node twice, from the terminal and from `npm start`; a second one takes longer, in ms. */
const ONE_KEYSTROKE_MS = 500;

async function up(argv: readonly string[]): Promise<void> {
  const settings = await readSettings(argv, process.env);
  if (!settings) return;
  const log = makeLog(settings['log-level']);
  const node = await startNode(settings, log);
  let stoppingSince = 0;
  const stop = (signal: NodeJS.Signals) => {
    if (stoppingSince > 0) {
      if (performance.now() - stoppingSince < ONE_KEYSTROKE_MS) return;
      log.warn('stopping at once; requests in flight are broken off');
      process.exit(1);
    }
    stoppingSince = performance.now();
    log.info({ signal }, 'stopping: finishing the requests in flight (once more to stop at once)');
    node.close().then(
      () => {
        log.info('stopped');
        process.exit(0);
      },
      (error: unknown) => {
        log.error({ err: error }, 'stopping failed');
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const { reloadCertificate } = node;
  // Without a certificate the signal keeps its usual meaning: the terminal has gone.
  if (reloadCertificate) process.on('SIGHUP', () => void reloadCertificate());
  process.on('uncaughtException', (error) => log.error({ err: error }, 'an error that nothing caught'));
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'a rejection that nothing caught'));

  // Last: who hears it may send a signal at once.
  const { engine, workloads, dataFolder } = node.view();
  log.info(
    { gateway: node.gatewayUrl, registry: node.registryUrl, data: dataFolder, engine, workloads },
    'the node is ready',
  );
  process.send?.({ ready: true, gateway: node.gatewayUrl, registry: node.registryUrl, data: dataFolder });
  process.disconnect?.();
}

async function printExamination(argv: readonly string[]): Promise<void> {
  const { examineMachine } = await import('./examine-machine.ts');
  const settings = await readSettings(argv, process.env);
  if (settings) process.stdout.write(`${JSON.stringify(await examineMachine(settings))}\n`);
}

const [, , command, ...flags] = process.argv;
try {
  await (command === 'examine' ? printExamination(flags) : up(flags));
} catch (thrown) {
  const error = asSkerryError(thrown);
  if (command === 'examine') process.stdout.write(problemBody(error, ''));
  else process.stderr.write(`${error.message.replaceAll('\n', ' ')}\n`);
  if (error.code === 'INTERNAL' && process.env.SKERRY_DEBUG) process.stderr.write(`${(thrown as Error).stack}\n`);
  process.exit(error.exit);
}
