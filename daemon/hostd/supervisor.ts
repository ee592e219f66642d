/**
 * What root's `skerry up` is: hostd, which starts the node as an unprivileged user, does for it what takes root, and ends
 * when it ends. See docs/security.md.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { constants } from 'node:os';
import { promisify } from 'node:util';
import { projectRoot } from '../../errors/project-root.ts';
import { closeFd, listenInside, openNetworkNamespace, socketPair } from '../../native/host/index.ts';
import type { Settings } from '../config.ts';
import { parseAddress } from '../config-schema.ts';
import { type GivenFolder, giveDataFolder } from '../data-folder.ts';
import { daemonErrors } from '../errors.ts';
import type { Logger } from '../log.ts';
import { ownPrivileges } from '../privileges.ts';
import { accessFor } from './node-user.ts';
import { openMachines } from './open-machines.ts';
import { HostdServer } from './server.ts';
import { CHANNEL_FD, LAUNCHER } from './split.ts';

const run = promisify(execFile);

/** A node that has closed the channel ends within this, or is ended; in milliseconds. */
const ENDING_MS = 5000;

/** Runs a node until it ends. Returns the exit status. `entry`: the node's program. Throws before anything was started. */
export async function superviseNode(settings: Settings, entry: string, log: Logger): Promise<number> {
  const folder = await giveDataFolder(settings.data);
  const warn = (message: string, error?: unknown) => log.warn({ err: error }, message);
  const given = { ...settings, data: folder.path };
  const { child, channel } = await startNode(folder, entry);
  let isReady = false;
  const server = new HostdServer(channel, {
    settings: given,
    files: ownPrivileges.files,
    openContainers: () => ownPrivileges.openContainers(folder.path, warn),
    openMachines: (layers) => openMachines(folder.path, warn, layers),
    openBuilder: () => ownPrivileges.openImageBuilder(folder.path),
    listen: listenAt,
    whyNoKvm: ownPrivileges.whyNoKvm,
    onReady: (urls) => {
      isReady = true;
      if (process.connected) {
        process.send?.({ ready: true, ...urls, data: folder.path });
        process.disconnect();
      }
    },
    log: warn,
  });
  process.on('uncaughtException', (error) => warn('an error that nothing caught', error));
  process.on('unhandledRejection', (error) => warn('a rejection that nothing caught', error));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  // Whoever breaks the rules of the channel is not the node that was started; one that ends closes it too.
  void server.closed.then((why) => setTimeout(() => child.kill('SIGKILL'), why ? 0 : ENDING_MS).unref());
  const status = await ended(child);
  await server.close();
  if (!isReady) await folder.discard();
  return status;
}

async function startNode(folder: GivenFolder, entry: string): Promise<{ child: ChildProcess; channel: number }> {
  const { path: data, user } = folder;
  const access = await accessFor(user, { data, read: [projectRoot, process.execPath] });
  const identity = ['--directory', '/', '--user', `${user}:${user}`];
  if (access.mapped.length > 0) await checkReadable(access, user, identity);
  const [channel, theirs] = await socketPair();
  const { SKERRY_ADMIN_TOKEN: _, ...environment } = process.env;
  const launch = [...access.arguments, ...identity, '--die-with-parent', '--keep', String(CHANNEL_FD), '--'];
  const child = spawn(LAUNCHER, [...launch, process.execPath, ...process.execArgv, entry, 'node'], {
    env: { ...environment, HOME: data },
    stdio: ['inherit', 'inherit', 'inherit', theirs],
  });
  await closeFd(theirs);
  return { child, channel };
}

/** Throws NODE_CANNOT_READ. */
async function checkReadable(
  { arguments: shown, mapped }: Awaited<ReturnType<typeof accessFor>>,
  user: number,
  identity: readonly string[],
): Promise<void> {
  for (const path of mapped) {
    try {
      await run(LAUNCHER, [...shown, ...identity, '--', '/bin/sh', '-c', 'test -r "$0"', path]);
    } catch (error) {
      const { stderr } = error as { stderr?: string };
      throw daemonErrors.NODE_CANNOT_READ(path, user, stderr?.trim() || 'permission denied').because(error);
    }
  }
}

/** A socket that listens where root may: at a port below 1024 too. */
async function listenAt(address: string): Promise<number> {
  const { host, port } = parseAddress(address) as { host: string; port: number };
  const found = await lookup(host);
  const own = await openNetworkNamespace('/proc/self/ns/net');
  try {
    return await listenInside(own, found.address, port);
  } finally {
    await closeFd(own);
  }
}

function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal as NodeJS.Signals]));
  });
}
