/** A node in this process, until a signal stops it. */
import type { Settings } from './config.ts';
import type { Logger } from './log.ts';
import { startNode } from './node.ts';
import type { Privileges } from './privileges.ts';

/** One Ctrl-C may reach the node more than once, from the terminal and from who started it; a second one takes longer, in ms. */
const ONE_KEYSTROKE_MS = 500;

/** Where it is reached. */
export interface NodeUrls {
  readonly gateway: string;
  /** Null when it is switched off. */
  readonly registry: string | null;
}

/** Resolves when it serves. `ready` tells whoever waits for that. */
export async function runNode(
  settings: Settings,
  privileges: Privileges,
  log: Logger,
  ready: (urls: NodeUrls, data: string) => Promise<void>,
): Promise<void> {
  const node = await startNode(settings, log, privileges);
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
  const urls = { gateway: node.gatewayUrl, registry: node.registryUrl };
  log.info({ ...urls, data: dataFolder, engine, workloads }, 'the node is ready');
  await ready(urls, dataFolder);
}
